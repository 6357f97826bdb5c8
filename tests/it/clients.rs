//! What needs foreign programs: a real SMTP server, among others. Run by `scripts/test --clients`.

mod mail;
mod mail_server;
mod user;

/// Python with the packages of tests/clients/requirements.txt.
#[expect(clippy::disallowed_methods, reason = "the test run's own settings")]
fn python(script: &str) -> std::process::Command {
    let python = std::env::var("OTPD_CLIENTS_PYTHON").expect("OTPD_CLIENTS_PYTHON: run scripts/test --clients");
    let mut command = std::process::Command::new(python);
    command.arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR")));
    command
}
