//! docs/integrations/better-auth.md: its blocks are compiled and run with better-auth against the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::json;

use super::{blocks, modules, node, own_codes_key, told};
use crate::harness::{Client, Embedded};

/// The page's files and the client they use, compiled beside the packages: `import` looks for those upwards.
static COMPILED: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = modules().with_file_name("better-auth");
    fs::create_dir_all(&home).expect("a directory");
    for block in blocks("better-auth.md", "ts") {
        // Each begins with its name in a comment.
        let name = block.lines().next().and_then(|line| line.strip_prefix("// ")).expect("a name");
        fs::write(home.join(name), &block).expect("a file");
    }
    let copies =
        ["examples/typescript/otpd.ts", "examples/typescript/tsconfig.json", "examples/typescript/package.json"];
    for path in copies.into_iter().chain(["tests/clients/better_auth.mjs"]) {
        let from = root.join(path);
        fs::copy(&from, home.join(from.file_name().expect("a name"))).expect("a copy");
    }
    let compiled = node(modules().join("typescript/bin/tsc")).arg("-p").arg(&home).output().expect("tsc");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    home
});

fn driver(client: &Client, what: &str) -> Command {
    let mut driver = node(COMPILED.join("better_auth.mjs"));
    driver.arg(what).env("OTPD_URL", &client.urls[0]).env("OTPD_PROJECT_ID", &client.project.id);
    driver.env("OTPD_API_KEY", &client.key);
    driver
}

#[tokio::test]
async fn a_person_signs_up_by_phone_with_otpds_code() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let expected = json!({
        "sent": 200,
        "tooSoon": [429, "cooldown"],
        "nonsense": [400, "country_code_required"],
        "wrong": [400, "INVALID_OTP"],
        "right": [200, "string", "+4915112345678", true],
        "used": [400, "INVALID_OTP"],
    });
    assert_eq!(told(&mut driver(&client, "phone")), expected);
    let record = client.get("/api/v1/otp/records").await.expect(200).body["records"][0].clone();
    assert_eq!((&record["verified"], &record["target"]), (&json!(true), &json!("+4915112345678")));
}

#[tokio::test]
async fn a_person_signs_in_by_email_with_better_auths_code() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let own = client.with_key(&own_codes_key(&otpd, &client.project.id));
    let expected = json!({
        "sent": 200,
        "tooSoon": 200,
        "dead": [400, "INVALID_OTP"],
        "wrong": [400, "INVALID_OTP"],
        "right": [200, "string", "bob@example.com"],
    });
    assert_eq!(told(&mut driver(&own, "email")), expected);
}
