//! The clients of examples/: the demonstrations as a person runs them, and every call of the Python and TypeScript ones.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{modules, node, python, told};
use crate::harness::beside::Beside;
use crate::harness::{Client, Embedded};

/// The TypeScript example, compiled once for all tests.
static COMPILED: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = example("typescript");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-typescript");
    let mut compile = node(modules().join("typescript/bin/tsc"));
    compile.arg("-p").arg(&source).arg("--outDir").arg(&out).arg("--typeRoots").arg(modules().join("@types"));
    let told = compile.output().expect("tsc");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    std::fs::copy(source.join("package.json"), out.join("package.json")).expect("a copy");
    out
});

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

/// The demonstrations, which lack nothing but a target.
fn demonstrations() -> [Command; 3] {
    let mut shell = Command::new("bash");
    shell.arg(example("curl/verify.sh"));
    [shell, python(example("python/otpd.py")), node(COMPILED.join("demo.js"))]
}

fn start(mut program: Command, url: &str, client: &Client, target: &str) -> Child {
    program
        .arg(target)
        .env("OTPD_URL", url)
        .env("OTPD_PROJECT_ID", &client.project.id)
        .env("OTPD_API_KEY", &client.key);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Types these lines and waits for its end: exit status, stdout without the prompts, stderr.
fn end(mut child: Child, typed: &str) -> (Option<i32>, String, String) {
    // It may have ended without reading.
    let _ = child.stdin.take().expect("stdin").write_all(typed.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("Code: ", "");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The programs that call all that the clients of the two languages have.
fn callers(url: &str, client: &Client, what: &[&str]) -> [Command; 2] {
    let (mut python, mut node) = (python("otpd_client.py"), node("otpd_client.mjs"));
    node.arg(&*COMPILED);
    for caller in [&mut python, &mut node] {
        caller.args([url, &client.project.id, &client.key]).args(what);
    }
    [python, node]
}

#[tokio::test]
async fn every_demonstration_verifies_at_the_second_guess() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    for (number, program) in demonstrations().into_iter().enumerate() {
        let target = format!("Zoë+{number}@example.com");
        let child = start(program, &client.urls[0], &client, &target);
        let code = client.code(&target).await;
        let (status, stdout, stderr) = end(child, &format!("0000\n{code}\n"));
        let lines: Vec<_> = stdout.lines().collect();
        assert_eq!((status, lines.len(), stderr.as_str()), (Some(0), 3, ""), "{stdout}");
        assert_eq!(lines[..2], [&format!("sent to {target}, good for 300 s"), "Invalid code, 4 attempts left"]);
        assert!(lines[2].starts_with("verified at 2"), "{stdout}");
    }
}

#[tokio::test]
async fn every_demonstration_ends_when_the_guesses_are_used_up_or_nobody_answers() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    for (number, program) in demonstrations().into_iter().enumerate() {
        let child = start(program, &client.urls[0], &client, &format!("ann{number}@example.com"));
        let (status, stdout, _) = end(child, &"0000\n".repeat(9));
        assert_eq!((status, stdout.lines().last()), (Some(1), Some("Invalid code, 0 attempts left")), "{stdout}");
    }
    for (number, program) in demonstrations().into_iter().enumerate() {
        let child = start(program, &client.urls[0], &client, &format!("bob{number}@example.com"));
        let (status, stdout, _) = end(child, "");
        assert_eq!((status, stdout.lines().last()), (Some(1), Some("not verified")), "{stdout}");
    }
}

#[tokio::test]
async fn every_demonstration_says_why_it_was_refused() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    for (caller, target, expected) in [
        (&client, "nonsense@", "400 invalid_request: "),
        (&client.with_key("no key"), "ann@example.com", "401 invalid_api_key: "),
    ] {
        for program in demonstrations() {
            let (status, stdout, stderr) = end(start(program, &client.urls[0], caller, target), "");
            assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
            assert!(stderr.starts_with(&format!("otpd: {expected}")), "{stderr}");
        }
    }
}

#[tokio::test]
async fn every_call_of_both_clients_answers_as_documented() {
    let expected = json!({
        "repeated": true,
        "expiresIn": 300,
        "wrong": [false, "Invalid code", 4],
        "canceled": [true, false],
        "after": [false, "Verification canceled"],
        "unknown": [404, "not_found", null],
        "nonsense": [400, "invalid_request", null],
        "foreign": [401, "invalid_api_key", null],
        "cooldown": [429, "cooldown"],
        "nowhere": [0, "unreachable", null],
        "newestFirst": true,
        "filtered": ["order 1"],
        "timeline": "canceled",
    });
    for number in 0..2 {
        let otpd = Embedded::start().await;
        let client = otpd.client();
        let mut caller = callers(&client.urls[0], &client, &[]).into_iter().nth(number).expect("two callers");
        assert_eq!(told(&mut caller), expected);
    }
}

/// The calls that reached a server on its bad day: path and Idempotency-Key.
type Calls = Arc<Mutex<Vec<(String, String)>>>;

/// Refuses twice, saying when to come back, then accepts; asks too much patience for bob, and for verifying.
async fn on_a_bad_day(State(calls): State<Calls>, uri: Uri, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let key = headers.get("idempotency-key").map_or("", |key| key.to_str().expect("text"));
    let mut calls = calls.lock().expect("calls");
    calls.push((uri.path().to_owned(), key.to_owned()));
    let refused = |status, code, seconds| {
        let told = json!({ "statusCode": 0, "code": code, "message": "later" });
        (status, [("retry-after", seconds)], Json(told)).into_response()
    };
    match (calls.len(), body["target"] == "bob@example.com", uri.path().ends_with("/verify")) {
        (_, true, _) => refused(StatusCode::TOO_MANY_REQUESTS, "cooldown", "3600"),
        (_, _, true) | (1, ..) => refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "1"),
        (2, ..) => refused(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "1"),
        _ => (StatusCode::ACCEPTED, Json(json!({ "recordId": "here", "expiresIn": 300 }))).into_response(),
    }
}

fn bad_day() -> (Beside, String, Calls) {
    let calls = Calls::default();
    let router = Router::new().fallback(on_a_bad_day).with_state(Arc::clone(&calls));
    let server = Beside::start(move |listener| async move { axum::serve(listener, router).await });
    let url = format!("http://{}", server.address);
    (server, url, calls)
}

/// The first three calls were one send, repeated with its key; how many followed.
#[track_caller]
fn sent_as_one(calls: &Calls) -> usize {
    let calls = calls.lock().expect("calls");
    let key = &calls[0].1;
    assert!(!key.is_empty() && calls[..3].iter().all(|call| *call == ("/api/v1/otp/send".to_owned(), key.clone())));
    calls.len() - 3
}

#[tokio::test]
async fn a_send_is_repeated_as_told_with_one_key_and_a_guess_never() {
    let otpd = Embedded::start().await;
    for number in 0..2 {
        let (_server, url, calls) = bad_day();
        let mut caller = callers(&url, &otpd.client(), &["patience"]).into_iter().nth(number).expect("two callers");
        let expected = json!({
            "sent": "here",
            "tooLong": [429, "cooldown", 3600],
            "verify": [503, "unavailable", 1],
        });
        assert_eq!(told(&mut caller), expected);
        assert_eq!(sent_as_one(&calls), 2);
    }
}

#[tokio::test]
async fn the_shell_repeats_a_send_as_told_with_one_key() {
    let otpd = Embedded::start().await;
    let (_server, url, calls) = bad_day();
    let [shell, ..] = demonstrations();
    let child = start(shell, &url, &otpd.client(), "ann@example.com");
    let (status, stdout, _) = end(child, "");
    assert_eq!((status, stdout.as_str()), (Some(1), "sent to ann@example.com, good for 300 s\nnot verified\n"));
    assert_eq!(sent_as_one(&calls), 0);
}
