//! docs/integrations/twilio.md: its blocks are run with Twilio's own SDKs against the program.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{blocks, credentials, modules, node, python};
use crate::harness::Embedded;

/// The page's block as a program that takes its credentials as arguments and the code from stdin.
fn program(language: &str, otpd: &Embedded, names: &str, read_code: &str) -> PathBuf {
    let url = &otpd.client().urls[0];
    let block = blocks("twilio.md", language).remove(0);
    assert!(block.contains("\"https://otp.example.com\"") && block.contains("\"123456\""), "{block}");
    let block = block.replace("https://otp.example.com", url).replace("\"123456\"", read_code);
    // Beside the packages: `import` looks for those upwards.
    let home = modules().with_file_name("twilio");
    fs::create_dir_all(&home).expect("a directory");
    let file = home.join(if language == "python" { "page.py" } else { "page.mjs" });
    fs::write(&file, format!("{names}\n{block}")).expect("a file");
    file
}

async fn approves(otpd: &Embedded, mut program: Command) {
    let client = otpd.client();
    let pair = credentials(otpd, &client.project.id, &["--twilio"]);
    let part = |name: &str| pair[name].as_str().expect("text").to_owned();
    program.args([part("account_sid"), part("auth_token"), part("service_sid")]);
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let code = client.code("+4915112345678").await;
    child.stdin.take().expect("stdin").write_all(format!("{code}\n").as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).trim()), (Some(0), "approved"));
}

#[tokio::test]
async fn the_lines_for_python_send_and_check() {
    let otpd = Embedded::start().await;
    let names = "import sys\n\naccount_sid, auth_token, service_sid = sys.argv[1:]";
    let page = program("python", &otpd, names, "input()");
    approves(&otpd, python(page)).await;
}

#[tokio::test]
async fn the_lines_for_node_send_and_check() {
    let otpd = Embedded::start().await;
    let names = "import { readFileSync } from \"node:fs\";\n\nconst [accountSid, authToken, serviceSid] = process.argv.slice(2);";
    let page = program("js", &otpd, names, "readFileSync(0, \"utf8\").trim()");
    approves(&otpd, node(page)).await;
}
