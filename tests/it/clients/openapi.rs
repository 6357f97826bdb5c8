//! The document against the program: schemathesis believes the one and calls the other. And its page in a browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{node, setting, told};
use crate::harness::process::run;
use crate::harness::{Client, Embedded};

/// The door is open once there is a secret; who signs with another is a stranger.
const SECRET: (&str, &str) = ("OTPD_DOORS__SUPABASE__SECRETS", "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

/// Credentials for every door.
struct Caller {
    otpd: Embedded,
    settings: Vec<(&'static str, String)>,
}

impl Caller {
    async fn start() -> Self {
        let otpd = Embedded::start_with(&[SECRET]).await;
        let client = otpd.client();
        let (key, twilio) = (make_key(&otpd, "--own-codes"), make_key(&otpd, "--twilio"));
        let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_else(|| panic!("{name}")).to_owned();
        let settings = vec![
            ("OTPD_KEY", text(&key, "key")),
            ("OTPD_PROJECT", client.project.id.clone()),
            ("OTPD_ACCOUNT", text(&twilio, "account_sid")),
            ("OTPD_PASSWORD", text(&twilio, "auth_token")),
            ("OTPD_SERVICE", text(&twilio, "service_sid")),
            ("OTPD_TOKEN", sign_in(&client, "+14155552675").await),
            ("OTPD_TOKEN_TO_END", sign_in(&client, "+14155552676").await),
        ];
        Self { otpd, settings }
    }

    /// Runs schemathesis over a document: a file or an address.
    fn look(&self, document: &str, arguments: &[&str]) -> Output {
        let program = Path::new(&setting("OTPD_CLIENTS_PYTHON")).with_file_name("schemathesis");
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/schemathesis.toml");
        let mut command = Command::new(program);
        command.arg("--config-file").arg(settings).args(["run", document, "--url", &self.otpd.client().url("")]);
        command.args(arguments).envs(self.settings.clone()).current_dir(env!("CARGO_TARGET_TMPDIR"));
        command.output().expect("schemathesis runs")
    }
}

fn make_key(otpd: &Embedded, kind: &str) -> Value {
    let (project, data) = (otpd.client().project.id, otpd.data());
    let arguments = ["key", "create", "--project", &project, "--sandbox", kind, "--json", "--data", &data];
    let (code, stdout, log) = run(&arguments, &otpd.environment);
    assert_eq!(code, 0, "{log}");
    serde_json::from_str(&stdout).expect("JSON")
}

/// An access token, by way of the login door.
async fn sign_in(client: &Client, phone: &str) -> String {
    client.post("/api/send-otp", &json!({ "phoneNumber": phone })).await.expect(200);
    let code = client.code(phone).await;
    let signed_in = client.post("/api/verify-otp", &json!({ "phoneNumber": phone, "otp": code })).await;
    signed_in.expect(200).text("token").to_owned()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn the_program_does_what_its_document_says() {
    let caller = Caller::start().await;
    let found = caller.look(&caller.otpd.client().url("/openapi.json"), &[]);
    assert!(found.status.success(), "{}", words(&found));
    assert!(!caller.otpd.process.log_text().contains("panicked"));
}

/// Else the test above would prove nothing.
#[tokio::test]
async fn a_mistake_in_the_document_is_found() {
    let caller = Caller::start().await;
    let mut document = caller.otpd.client().get("/openapi.json").await.expect(200).body;
    document["components"]["schemas"]["Accepted"]["properties"]["expiresIn"]["type"] = "string".into();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mistaken.json");
    std::fs::write(&path, document.to_string()).expect("written");
    let found = caller.look(path.to_str().expect("UTF-8"), &["--include-operation-id", "send"]);
    let words = words(&found);
    assert!(!found.status.success() && words.contains("Response violates schema"), "{words}");
}

#[tokio::test]
async fn the_page_shows_every_operation_and_asks_nobody_else() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let document = client.get("/openapi.json").await.expect(200).body;
    let paths = document["paths"].as_object().expect("paths");
    let operations: usize = paths.values().map(|item| item.as_object().map_or(0, serde_json::Map::len)).sum();
    let page = told(node("docs_page.cjs").arg(client.url("/docs")));
    assert_eq!(page, json!({ "operations": operations, "elsewhere": [], "complaints": [], "answer": "ok" }));
}
