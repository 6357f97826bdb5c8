//! The command itself: its settings as they are pasted, its flags, and the orders that it takes while it runs.

use futures_util::future::join;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{Rehearsal, attempts, time};
use crate::harness::client::{Reply, reply};
use crate::harness::eventually;
use crate::harness::process::{Environment, Process, run};
use crate::harness::simulated::Simulated;

const VENDORS: [&str; 13] = [
    "africastalking",
    "eskiz",
    "infobip",
    "mailgun",
    "meta",
    "playmobile",
    "postmark",
    "resend",
    "sendgrid",
    "ses",
    "telnyx",
    "twilio",
    "vonage",
];

async fn ask(vendors: &Simulated, path: &str) -> Reply {
    reply(reqwest::Client::new().get(format!("{}{path}", vendors.url))).await
}

async fn order(vendors: &Simulated, path: &str, body: &str) -> Reply {
    reply(reqwest::Client::new().post(format!("{}{path}", vendors.url)).body(body.to_owned())).await
}

#[test]
fn what_it_prints_is_a_whole_file_of_settings() {
    let arguments = ["simulate", "--listen", "127.0.0.1:0"];
    let process = Process::start(&arguments, &Environment::new());
    let mut lines = vec![process.line()];
    while !lines.last().expect("a line").starts_with("whatsapp_from")
        || !lines.contains(&"[providers.vonage]".to_owned())
    {
        lines.push(process.line());
    }
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("simulated.toml");
    std::fs::write(&file, lines.join("\n")).expect("written");
    let file = file.to_str().expect("a path in UTF-8");
    let (code, _, log) = run(&["config", "check", "--embedded", "--config", file], &Environment::new());
    assert_eq!(code, 0, "{log}");
    for vendor in VENDORS {
        assert!(lines.contains(&format!("[providers.{vendor}]")), "{vendor}");
    }
    assert!(lines.contains(&r#"public_url = "http://127.0.0.1:8080""#.to_owned()));
}

#[test]
fn what_it_prints_is_taken_where_it_listens_on_all_addresses_too() {
    let arguments = ["simulate", "twilio", "--listen", "0.0.0.0:0", "--i-know", "--json"];
    let process = Process::start(&arguments, &Environment::new());
    let told: Value = serde_json::from_str(&process.line()).expect("JSON");
    assert!(told["url"].as_str().expect("a URL").starts_with("http://127.0.0.1:"), "{told}");
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("simulated.toml");
    std::fs::write(&file, told["config"].as_str().expect("settings")).expect("written");
    let file = file.to_str().expect("a path in UTF-8");
    let (code, _, log) = run(&["config", "check", "--embedded", "--config", file], &Environment::new());
    assert_eq!(code, 0, "{log}");
}

#[test]
fn it_prints_the_same_settings_every_time() {
    let config = || {
        let vendors = Simulated::start(&[]);
        let lines = vendors.config.lines().map(|line| line.replace(&vendors.url, "")).collect::<Vec<_>>();
        lines.into_iter().filter(|line| !line.starts_with("public_url")).collect::<Vec<_>>()
    };
    assert_eq!(config(), config());
}

#[test]
fn wrong_usage_is_named() {
    for (arguments, words) in [
        (&["pigeon"][..], "no vendor pigeon can be played: there are africastalking, eskiz"),
        (&["--answer", "twilio=maybe"], "answer: must be one of credentials, balance"),
        (&["--answer", "pigeon=401"], "no vendor pigeon is played here"),
        (&["twilio", "--errors", "vonage=1%"], "no vendor vonage is played here: there are twilio"),
        (&["--latency", "soon"], "latency: must be a time up to 60s, such as 200ms"),
        (&["--errors", "110%"], "errors: must be 0% to 100%"),
        (&["--receipts", "gone"], "receipts: must be one of delivered, failed, late, lost, none"),
        (&["--receipts-to", "otpd"], "the address of otpd must be a URL such as https://otp.example.com"),
        (&["--receipts-to", "http://127.0.0.1:8080?x=1"], "with a host and without user, query and fragment"),
        (&["--listen", "0.0.0.0:0"], "could read messages: say --i-know"),
    ] {
        let arguments = [&["simulate"], arguments].concat();
        let arguments = if arguments.contains(&"--listen") {
            arguments
        } else {
            [&arguments[..], &["--listen", "127.0.0.1:0"]].concat()
        };
        let (code, stdout, log) = run(&arguments, &Environment::new());
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {log}");
        assert!(log.contains(words), "{log}");
    }
}

#[tokio::test]
async fn orders_are_taken_while_it_runs_all_or_none() {
    let vendors = Simulated::start(&["twilio", "vonage", "--latency", "vonage=20ms"]);
    let all = ask(&vendors, "/_simulate").await.expect(200).body;
    let plain = json!({"answer": "ok", "latency": "0ms", "errors": "0%", "receipts": "delivered", "requests": 0, "taken": 0,
                       "refused": 0, "receiptsTaken": 0, "receiptsRefused": 0});
    let mut late = plain.clone();
    late["latency"] = "20ms".into();
    assert_eq!(all, json!({"vendors": {"twilio": plain, "vonage": late}}));

    let ordered = order(&vendors, "/_simulate/twilio", r#"{"answer": 503, "errors": "5%"}"#).await.expect(200).body;
    assert_eq!((&ordered["answer"], &ordered["errors"]), (&json!("503"), &json!("5%")));
    let all = order(&vendors, "/_simulate", r#"{"receipts": "none"}"#).await.expect(200).body;
    for vendor in ["twilio", "vonage"] {
        assert_eq!(all["vendors"][vendor]["receipts"], "none");
    }
    let before = ask(&vendors, "/_simulate").await.body;
    for (path, body, status) in [
        ("/_simulate/twilio", r#"{"answer": "ok", "receipts": "gone"}"#, 400),
        ("/_simulate/twilio", r#"{"colour": "red"}"#, 400),
        ("/_simulate/twilio", "answer=ok", 400),
        ("/_simulate/pigeon", "{}", 404),
    ] {
        let refused = order(&vendors, path, body).await;
        assert_eq!(refused.status, status, "{body}");
        assert!(!refused.text("error").is_empty());
    }
    assert_eq!(ask(&vendors, "/_simulate").await.body, before);
    assert_eq!(ask(&vendors, "/_simulate/pigeon").await.status, 404);
    assert_eq!(ask(&vendors, "/pigeon/v1").await.status, 404);
}

#[tokio::test]
async fn latency_and_errors_are_those_of_the_flags() {
    let rig =
        Rehearsal::start(&["twilio", "postmark", "--latency", "twilio=300ms", "--errors", "postmark=100%"], &[]).await;
    let id = rig.send("sms", "+14155552671").await;
    let attempt = rig.dispatch_in(&id, "delivered").await["attempts"][0].clone();
    assert!(time(&attempt, "finishedAt") - time(&attempt, "startedAt") >= 300, "{attempt}");
    let id = rig.send("email", "ann@example.com").await;
    assert_eq!(attempts(&rig.after_attempts(&id, 1).await)[0], "postmark unavailable");
}

#[tokio::test]
async fn a_bare_status_is_as_a_proxy_would_say_it() {
    let rig = Rehearsal::start(&["twilio", "--answer", "502"], &[]).await;
    let id = rig.send("sms", "+14155552671").await;
    let attempt = rig.after_attempts(&id, 1).await["attempts"][0].clone();
    assert_eq!(
        (&attempt["cause"], &attempt["detail"]),
        (&json!("unavailable"), &json!("502: <html><body><h1>502</h1></body></html>"))
    );
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_even_while_a_vendor_is_silent() {
    let mut vendors = Simulated::start(&["twilio", "--answer", "timeout"]);
    let url = format!("{}/twilio/2010-04-01/Accounts/AC1.json", vendors.url);
    let ended = async {
        let requests = || async { (vendors.count("twilio", "requests").await == 1).then_some(()) };
        eventually("the request", requests).await;
        vendors.process.terminate().await
    };
    let (answer, ended) = join(reqwest::Client::new().get(url).send(), ended).await;
    assert_eq!((answer.expect("an answer").status().as_u16(), ended.success()), (503, true));
}

#[tokio::test]
async fn receipts_that_are_refused_are_counted() {
    let rig =
        Rehearsal::start(&["postmark"], &[("OTPD_PROVIDERS__POSTMARK__RECEIPT_SECRET", "0123456789abcdef0")]).await;
    let id = rig.send("email", "ann@example.com").await;
    rig.dispatch_in(&id, "sent").await;
    rig.vendors.process.says("a receipt was not taken").await;
    assert_eq!(rig.client.record(&id).await["dispatches"][0]["receipts"], Value::Array(Vec::new()));
}
