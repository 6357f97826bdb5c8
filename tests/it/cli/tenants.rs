//! What an operator gives to tenants: keys that may do more, pairs for clients of Twilio, origins, test numbers.

use serde_json::{Value, json};

use super::json_of;
use crate::harness::Embedded;
use crate::harness::process::run;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn new_project(otpd: &Embedded, more: &[&str]) -> String {
    text(&json_of(otpd, &[&["project", "create", "Acme"], more].concat()), "project_id").to_owned()
}

/// What a setting of a project is after an update.
fn updated(otpd: &Embedded, project: &str, setting: &str, more: &[&str]) -> Value {
    json_of(otpd, &[&["project", "update", project], more].concat())["settings"][setting].take()
}

/// A command that is refused with these words.
#[track_caller]
fn refused(otpd: &Embedded, arguments: &[&str], words: &str) {
    let (code, stdout, log) = run(&[arguments, &["--data", &otpd.data()]].concat(), &otpd.environment);
    assert_eq!((code, stdout.as_str()), (2, ""), "{log}");
    assert!(log.contains(words), "{log}");
}

#[tokio::test]
async fn a_key_may_bring_codes_of_its_own_if_it_was_made_so() {
    let otpd = Embedded::start().await;
    let id = new_project(&otpd, &[]);
    let key = json_of(&otpd, &["key", "create", "--project", &id, "--own-codes"]);
    assert_eq!((&key["own_codes"], &key["kind"]), (&true.into(), &"live".into()));
    let plain = json_of(&otpd, &["key", "create", "--project", &id, "--sandbox"]);
    assert_eq!(plain["own_codes"], false);
    let keys = json_of(&otpd, &["key", "list", "--project", &id]);
    let own: Vec<_> = keys.as_array().expect("keys").iter().filter(|key| key["own_codes"] == true).collect();
    assert_eq!((own.len(), &own[0]["prefix"]), (1, &key["prefix"]));
}

#[tokio::test]
async fn a_pair_for_clients_of_twilio_is_shown_once_and_revoked_by_its_sid() {
    let otpd = Embedded::start().await;
    let id = new_project(&otpd, &[]);
    let pair = json_of(&otpd, &["key", "create", "--project", &id, "--twilio", "--own-codes"]);
    let names: Vec<_> = pair.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names, ["account_sid", "auth_token", "service_sid"]);
    let (sid, token) = (text(&pair, "account_sid"), text(&pair, "auth_token"));
    assert_eq!((&sid[..2], sid.len(), token.len()), ("AC", 34, 32));
    assert_eq!(text(&pair, "service_sid"), id.replace("PRJ_", "VA"));
    let listed = || {
        let keys = json_of(&otpd, &["key", "list", "--project", &id]);
        keys.as_array().expect("keys").iter().find(|key| key["prefix"] == sid).cloned().expect("the pair")
    };
    assert_eq!((&listed()["own_codes"], &listed()["revoked_at"]), (&true.into(), &Value::Null));
    assert!(!listed().to_string().contains(token));
    assert_eq!(json_of(&otpd, &["key", "revoke", sid])["prefix"], sid);
    assert!(listed()["revoked_at"].is_string());
}

#[tokio::test]
async fn a_pair_is_told_in_words_too() {
    let otpd = Embedded::start().await;
    let (id, data) = (new_project(&otpd, &["--sandbox"]), otpd.data());
    refused(&otpd, &["key", "create", "--project", &id, "--twilio"], "it has sandbox keys only");
    let pair = ["key", "create", "--project", &id, "--twilio", "--sandbox", "--data", &data];
    let (code, stdout, log) = run(&pair, &otpd.environment);
    assert_eq!(code, 0, "{log}");
    let lines: Vec<_> = stdout.lines().collect();
    let starts = ["account SID AC", "auth token  ", "service SID VA", "The auth token is shown this once"];
    assert!(lines.len() == 4 && lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{stdout}");
    let (_, stdout, _) = run(&["key", "list", "--project", &id, "--data", &data], &otpd.environment);
    assert!(stdout.lines().any(|line| line.starts_with("AC") && line.contains("  sandbox  ")), "{stdout}");
}

#[tokio::test]
async fn origins_are_set_and_cleared() {
    let otpd = Embedded::start().await;
    let id = new_project(&otpd, &["--allowed-origins", "https://app.example.com,http://localhost:3000"]);
    let both = json!(["https://app.example.com", "http://localhost:3000"]);
    assert_eq!(updated(&otpd, &id, "allowed_origins", &["--ttl", "60"]), both, "what is not named stays");
    assert_eq!(updated(&otpd, &id, "allowed_origins", &["--allowed-origins", ""]), json!([]));
    let wrong = ["project", "update", &id, "--allowed-origins", "https://app.example.com/login,*"];
    refused(&otpd, &wrong, "https://app.example.com/login is not an origin");
}

#[tokio::test]
async fn test_numbers_are_set_replaced_and_cleared() {
    let otpd = Embedded::start().await;
    let (one, two) = ("+989123456789=4444@2026-12-31", "+491701234567=012345@2027-01-01T12:00:00Z");
    let id = new_project(&otpd, &["--sandbox", "--test-number", one, "--test-number", two]);
    let kept = json!([
        { "number": "+989123456789", "code": "4444", "until": "2026-12-31T23:59:59.999Z" },
        { "number": "+491701234567", "code": "012345", "until": "2027-01-01T12:00:00.000Z" },
    ]);
    assert_eq!(updated(&otpd, &id, "test_numbers", &["--ttl", "60"]), kept);
    assert_eq!(updated(&otpd, &id, "test_numbers", &["--test-number", one]), json!([kept[0]]));
    assert_eq!(updated(&otpd, &id, "test_numbers", &["--no-test-numbers"]), json!([]));
}

#[tokio::test]
async fn test_numbers_are_for_sandbox_projects() {
    let otpd = Embedded::start().await;
    let number = "+989123456789=4444@2026-12-31";
    refused(&otpd, &["project", "create", "Acme", "--test-number", number], "only a sandbox project");
    let id = new_project(&otpd, &[]);
    refused(&otpd, &["project", "update", &id, "--test-number", number], "only a sandbox project");
    assert_eq!(updated(&otpd, &id, "test_numbers", &["--no-test-numbers"]), json!([]));
}

#[tokio::test]
async fn test_numbers_must_be_whole() {
    let otpd = Embedded::start().await;
    let (id, number) = (new_project(&otpd, &["--sandbox"]), "+989123456789=4444@2026-12-31");
    let update = ["project", "update", &id, "--test-number"];
    for (wrong, words) in [
        ("+989123456789", "must be NUMBER=CODE@DATE"),
        ("+989123456789=4444", "must be NUMBER=CODE@DATE"),
        ("+989123456789=4444@soon", "soon is neither a date"),
        ("09123456789=4444@2026-12-31", "must be in E.164"),
        ("+989123456789=44@2026-12-31", "the code must be 4 to 10 digits"),
    ] {
        refused(&otpd, &[&update[..], &[wrong]].concat(), words);
    }
    refused(&otpd, &[&update[..], &[number, "--test-number", number]].concat(), "is there twice");
    refused(&otpd, &[&update[..], &[number, "--no-test-numbers"]].concat(), "cannot be used with");
}
