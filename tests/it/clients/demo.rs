//! The page to log in with, in a browser and without one: at `/demo` of `otpd dev`, and before the server of examples/login.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::{node, told};
use crate::harness::client::reply;
use crate::harness::{Client, Embedded, Reply};

const ANN: &str = "ann@example.com";
/// What of each step is in the tree that a screen reader gets.
const ASK: &[&str] =
    &["heading \"Log in\" [level=1]", "textbox \"Phone number or e-mail address\"", "button \"Send me a code\""];
const CODE: &[&str] = &[
    "heading \"Enter the code\" [level=1]",
    "status: A code is on its way. It is good for up to 5 minutes.",
    "strong: ann@example.com",
    "textbox \"Code\"",
    "button \"Log in\"",
    "button \"Send another code in 0:30\" [disabled]",
    "link \"Use another number or address\"",
];

/// The example's own server in front of a running otpd.
struct Shop {
    server: Child,
    http: reqwest::Client,
    url: String,
}

impl Shop {
    fn open(client: &Client) -> Self {
        let mut server = node(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/login/server.mjs"));
        server.env("OTPD_URL", &client.urls[0]).env("OTPD_PROJECT_ID", &client.project.id).env("PORT", "0");
        server.env("OTPD_API_KEY", &client.key).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = server.spawn().expect("it starts");
        let mut url = String::new();
        BufReader::new(server.stdout.take().expect("stdout")).read_line(&mut url).expect("its address");
        Self { server, http: client.http.clone(), url: url.trim().to_owned() }
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let request = self.http.post(format!("{}{path}", self.url)).form(fields);
        reply(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    async fn me(&self, token: &str) -> Reply {
        reply(self.http.get(format!("{}/me", self.url)).bearer_auth(token)).await
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// One browser at a time: each wants the whole machine.
static BROWSER: Mutex<()> = Mutex::new(());

/// What the browser saw.
fn browse(otpd: &Embedded, scenario: &str, url: &str, target: &str) -> Value {
    let client = otpd.client();
    let mut script = node("demo.cjs");
    script.args([scenario, url, target]).env("OTPD_URL", &client.urls[0]).env("OTPD_CLOCK", otpd.clock.file());
    script.env("OTPD_PROJECT_ID", &client.project.id).env("OTPD_SANDBOX_KEY", &client.project.sandbox_key);
    let alone = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut told = told(&mut script);
    drop(alone);
    for nothing in ["elsewhere", "complaints"] {
        assert_eq!(
            told.as_object_mut().expect("an object").remove(nothing).unwrap_or(json!([])),
            json!([]),
            "{scenario}"
        );
    }
    told
}

/// The way in and out with a script, where `me` is asked who it is.
#[track_caller]
fn went_in_and_out(told: &Value, me: &str, logout: &str) {
    assert_eq!(told["asked"], json!(["Enter the code", "Enter the code", "digits"]));
    let wrong = "That code is wrong. 4 attempts left.";
    assert_eq!(told["wrong"], json!(["Error: Enter the code", "Enter the code", "digits", wrong]));
    assert_eq!(told["inside"], json!(["You are logged in", "You are logged in", "answer"]));
    assert_eq!(told["outside"], json!(["Log in", "Log in", "target"]));
    assert_eq!((&told["invalid"], &told["me"]["channel"]), (&json!("true"), &json!("email")));
    assert_eq!(told["bearers"], json!([me, logout]));
    assert_eq!((&told["storage"], &told["cookies"], &told["cookiesAfter"]), (&json!(0), &json!([]), &json!(0)));
    let sent = "status: A code is on its way. It is good for up to 5 minutes.";
    assert_eq!(told["said"], json!([sent, format!("alert: {wrong}"), "status: You are logged out."]));
}

/// The same without one.
#[track_caller]
fn went_in_and_out_plainly(told: &Value) {
    assert_eq!(told["asked"], json!(["Enter the code", "Enter the code", "digits"]));
    let wrong = "That code is wrong. 4 attempts left.";
    assert_eq!(told["wrong"], json!(["Error: Enter the code", "Enter the code", "digits", wrong]));
    assert_eq!(told["inside"], json!(["You are logged in", "You are logged in", "answer"]));
    assert_eq!(told["outside"], json!(["Log in", "Log in", "target"]));
    assert_eq!(told["me"]["channel"], "email");
    assert_eq!((&told["bearers"], &told["storage"]), (&json!([]), &json!(0)));
    assert_eq!(told["cookies"], json!([{ "httpOnly": true, "sameSite": "Strict" }]));
    assert_eq!(told["cookiesAfter"], 0);
}

#[tokio::test]
async fn the_page_logs_in_and_out_with_a_script_and_without() {
    let otpd = Embedded::start().await;
    let url = otpd.client().url("/demo");
    went_in_and_out(&browse(&otpd, "scripted", &url, ANN), "GET /api/me", "POST /demo/logout");
    went_in_and_out_plainly(&browse(&otpd, "plain", &url, "bob@example.com"));
}

#[tokio::test]
async fn so_does_the_page_of_the_example() {
    let otpd = Embedded::start().await;
    let shop = Shop::open(&otpd.client().live());
    went_in_and_out(&browse(&otpd, "scripted", &shop.url, ANN), "GET /me", "POST /logout");
    went_in_and_out_plainly(&browse(&otpd, "plain", &shop.url, "bob@example.com"));
}

#[tokio::test]
async fn a_log_out_ends_the_token_and_a_reload_forgets_it() {
    let otpd = Embedded::start().await;
    let shop = Shop::open(&otpd.client().live());
    for (url, target) in [(&otpd.client().url("/demo"), ANN), (&shop.url, "bob@example.com")] {
        let told = browse(&otpd, "token", url, target);
        assert_eq!(told, json!({ "before": 200, "after": 401, "shownAfterReload": "Log in" }), "{url}");
    }
}

#[tokio::test]
async fn the_button_counts_down_to_another_code() {
    let otpd = Embedded::start().await;
    let told = browse(&otpd, "waiting", &otpd.client().url("/demo"), ANN);
    assert_eq!(told["first"], json!([true, "Send another code in 0:30"]));
    assert_eq!(told["later"], "Send another code in 0:20");
    assert_eq!(told["over"], json!([false, "Send another code"]));
    let retry_after: u32 = told["refused"][2].as_str().and_then(|wait| wait.parse().ok()).expect("seconds");
    assert_eq!(told["refused"][1], format!("Send another code in 0:{retry_after:02}"));
    assert_eq!((&told["refused"][0], &told["refused"][3]), (&json!(true), &json!(true)));
    assert_eq!(told["sent"], json!([true, "Send another code in 0:30", true]));
    let said = told["said"].as_array().expect("words");
    assert!(said.contains(&json!("status: You can ask for another code now.")) && said.len() == 5, "{said:?}");
}

#[tokio::test]
async fn a_browser_that_reads_the_message_types_the_code_itself() {
    let otpd = Embedded::start().await;
    let told = browse(&otpd, "webotp", &otpd.client().url("/demo"), "+14155552671");
    assert_eq!((&told["asked"], &told["inside"]), (&json!({ "transport": ["sms"] }), &json!("You are logged in")));
}

#[tokio::test]
async fn a_screen_reader_is_told_everything() {
    let otpd = Embedded::start().await;
    let told = browse(&otpd, "access", &otpd.client().url("/demo"), ANN);
    assert_eq!((&told["language"], &told["start"]), (&json!("en"), &json!([true, "username"])));
    let problem = "Type a phone number with its country code, or an e-mail address.";
    assert_eq!(told["refused"], json!(["Error: Log in", "Log in", "target", "true"]));
    assert_eq!(told["description"][0], problem);
    assert_eq!(told["said"][0], format!("alert: {problem}"));
    assert_eq!(told["field"], json!(["one-time-code", "numeric", "text"]));
    assert_eq!(told["fits"], true, "a narrow screen is wide enough");
    for (step, parts) in [("ask", ASK), ("code", CODE)] {
        let seen = told[step].as_str().expect("a tree");
        for part in parts {
            assert!(seen.contains(part), "{part} in {seen}");
        }
    }
}

#[tokio::test]
async fn the_examples_server_answers_forms_by_itself() {
    let otpd = Embedded::start().await;
    let (client, shop) = (otpd.client(), Shop::open(&otpd.client().live()));
    let sent = shop.post("/send", &[("target", ANN)], &[]).await.expect(200);
    assert_eq!((sent.text("step"), &sent.body["resendIn"]), ("code", &json!(30)));
    let soon = shop.post("/send", &[("target", ANN)], &[]).await.expect(429);
    assert!(soon.header("retry-after").is_some() && soon.text("step") == "code", "{}", soon.body);
    let code = client.code(ANN).await;
    let wrong = if code == "000000" { "111111" } else { "000000" };
    let told = shop.post("/verify", &[("target", ANN), ("code", wrong)], &[]).await.expect(401);
    assert_eq!(told.text("error"), "That code is wrong. 4 attempts left.");
    let inside = shop.post("/verify", &[("target", ANN), ("code", &code)], &[]).await.expect(200);
    let token = inside.text("token");
    assert_eq!(shop.me(token).await.expect(200).body["channel"], "email");
    let bearer = format!("Bearer {token}");
    shop.post("/logout", &[], &[("authorization", &bearer)]).await.expect(200);
    shop.me(token).await.expect(401);
}

#[tokio::test]
async fn the_examples_server_believes_no_token_of_others() {
    let otpd = Embedded::start().await;
    let (client, shop) = (otpd.client(), Shop::open(&otpd.client().live()));
    shop.post("/send", &[("target", ANN)], &[]).await.expect(200);
    let code = client.code(ANN).await;
    let inside = shop.post("/verify", &[("target", ANN), ("code", &code)], &[]).await.expect(200);
    let parts: Vec<_> = inside.text("token").split('.').collect();
    let [head, body, signature] = parts[..] else { panic!("three parts") };
    // {"alg":"none","typ":"at+jwt"}, and the header of another algorithm.
    for forged in [
        format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{body}."),
        format!("eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.{body}.{signature}"),
        format!("{head}.{body}.{}", signature.chars().rev().collect::<String>()),
        format!("{head}.{body}"),
        "nonsense".to_owned(),
    ] {
        shop.me(&forged).await.expect(401);
    }
    // A good token of this project, whose session another server opened.
    client.post("/api/send-otp", &json!({ "phoneNumber": "+14155552671" })).await.expect(200);
    let guess = json!({ "phoneNumber": "+14155552671", "otp": client.code("+14155552671").await });
    let other = client.post("/api/verify-otp", &guess).await.expect(200);
    shop.me(other.text("token")).await.expect(401);
}

#[tokio::test]
async fn the_examples_server_keeps_its_troubles_and_its_forms_to_itself() {
    let otpd = Embedded::start().await;
    let shop = Shop::open(&otpd.client().with_key("otpd_live_nobody"));
    let refused = shop.post("/send", &[("target", ANN)], &[]).await.expect(503);
    assert_eq!((refused.text("step"), refused.text("error")), ("ask", "That is not possible at the moment."));
    let html = [("accept", "text/html")];
    let told = shop.post("/send", &[("target", "\"'><script>alert(1)</script>")], &html).await.expect(503);
    let page = told.body.as_str().expect("a page");
    assert!(page.starts_with("<!doctype html>") && !page.contains("<script>") && !page.contains("otpd_live"), "{page}");
    assert!(told.header("content-security-policy").is_some_and(|policy| !policy.contains("unsafe")));
    for foreign in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
        shop.post("/send", &[("target", ANN)], &[foreign]).await.expect(403);
    }
    shop.post("/send", &[("target", &"a".repeat(17_000))], &[]).await.expect(413);
    shop.post("/server.mjs", &[], &[]).await.expect(404);
}
