//! What needs foreign programs: a real SMTP server, among others. Run by `scripts/test --clients`.

mod better_auth;
mod demo;
mod doors;
mod examples;
mod kratos;
mod mail;
mod mail_server;
mod openapi;
mod twilio_face;
mod twilio_page;
mod user;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Embedded, process};

/// Python with the packages of tests/clients/requirements.txt, to run a script of tests/clients. It leaves nothing there.
fn python(script: impl AsRef<Path>) -> Command {
    let mut command = Command::new(setting("OTPD_CLIENTS_PYTHON"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("HYPOTHESIS_STORAGE_DIRECTORY", concat!(env!("CARGO_TARGET_TMPDIR"), "/hypothesis"));
    command
}

/// Node with the packages of tests/clients/package.json, to run a script of tests/clients. Packages are found by
/// `require`, which asks NODE_PATH; `import` does not.
fn node(script: impl AsRef<Path>) -> Command {
    let mut command = Command::new(setting("OTPD_CLIENTS_NODE"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command.env("NODE_PATH", modules());
    command
}

/// Where those packages are.
fn modules() -> PathBuf {
    setting("OTPD_CLIENTS_MODULES").into()
}

/// What a client's program printed: one value in JSON.
fn told(program: &mut Command) -> Value {
    let output = program.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The blocks of a page of docs/integrations in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/integrations").join(page);
    let page = std::fs::read_to_string(path).expect("the page");
    let fence = format!("```{language}\n");
    let starts = page.split(&fence).skip(1);
    starts.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Credentials for the sandbox, as `otpd key create` prints them with these arguments.
fn credentials(otpd: &Embedded, project: &str, more: &[&str]) -> Value {
    let data = otpd.data();
    let create = [&["key", "create", "--project", project, "--sandbox", "--json", "--data", &data], more].concat();
    let (code, stdout, log) = process::run(&create, &otpd.environment);
    assert_eq!(code, 0, "{log}");
    serde_json::from_str(&stdout).expect("JSON")
}

/// A sandbox key that may bring codes of its caller's own.
fn own_codes_key(otpd: &Embedded, project: &str) -> String {
    credentials(otpd, project, &["--own-codes"])["key"].as_str().expect("a key").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the test run's own settings")]
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test --clients"))
}
