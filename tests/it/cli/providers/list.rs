//! `otpd providers list`: what is on and from where, what is missing, and names that nobody reads.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::environment;
use crate::harness::Embedded;
use crate::harness::process::{Environment, Process, run};

fn listed(environment: &Environment, more: &[&str]) -> (Value, String) {
    let (code, stdout, log) = run(&[&["providers", "list", "--json"], more].concat(), environment);
    assert_eq!(code, 0, "{log}");
    assert!(!stdout.contains("swordfish") && !log.contains("swordfish"), "{stdout}{log}");
    (serde_json::from_str(&stdout).expect("JSON alone on stdout"), log)
}

fn find<'a>(listed: &'a Value, part: &str, name: &str) -> &'a Value {
    let mut rows = listed[part].as_array().expect("rows").iter();
    let found = rows.find(|row| row["provider"] == name || row["kind"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {part} of {listed}"))
}

#[test]
fn what_is_on_is_listed_with_its_variables_and_its_places() {
    let environment = environment(&[
        ("TWILIO_ACCOUNT_SID", "AC0123456789"),
        ("TWILIO_AUTH_TOKEN", "swordfish"),
        ("TWILIO_PHONE_NUMBER", "+15005550006"),
        ("ESKIZ_EMAIL", "shop@example.uz"),
        ("ESKIZ_PASSWORD", "swordfish"),
        ("OTPD_PROVIDERS__MAIL__KIND", "smtp"),
        ("OTPD_PROVIDERS__MAIL__URL", "smtp://u:swordfish@127.0.0.1:1"),
        ("OTPD_PROVIDERS__MAIL__FROM", "otp@example.com"),
        ("OTPD_ROUTES__SMS", "twilio"),
    ]);
    let (listed, log) = listed(&environment, &[]);
    assert_eq!((log.as_str(), &listed["warnings"]), ("", &json!([])));
    let expected = json!({
        "provider": "twilio", "kind": "twilio", "status": "on", "channels": ["sms"], "receipts": true, "problems": [], "rules": [],
        "from": ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER"],
        "routes": [{"channel": "sms", "place": 1, "of": 1}],
    });
    assert_eq!(*find(&listed, "providers", "twilio"), expected);
    let eskiz = find(&listed, "providers", "eskiz");
    assert_eq!((&eskiz["routes"][0]["place"], &eskiz["receipts"]), (&json!(null), &json!(false)));
    let mail = find(&listed, "providers", "mail");
    let variables = ["OTPD_PROVIDERS__MAIL__FROM", "OTPD_PROVIDERS__MAIL__KIND", "OTPD_PROVIDERS__MAIL__URL"];
    assert_eq!((&mail["kind"], &mail["from"]), (&json!("smtp"), &json!(variables)));
    assert_eq!(mail["routes"], json!([{"channel": "email", "place": 1, "of": 1}]));
    let off: Vec<_> = listed["off"].as_array().expect("rows").iter().map(|row| row["kind"].clone()).collect();
    assert!(
        off.contains(&json!("vonage")) && !off.contains(&json!("smtp")) && !off.contains(&json!("twilio")),
        "{off:?}"
    );
    assert_eq!(find(&listed, "off", "vonage")["missing"], json!([["VONAGE_API_KEY", "VONAGE_API_SECRET"]]));

    let (_, stdout, _) = run(&["providers", "list"], &environment);
    for words in [
        "sms 1 of 1",
        "sms not in its route",
        "TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_PHONE_NUMBER\n",
        "VONAGE_API_KEY and VONAGE_API_SECRET\n",
        "kind = \"webhook\" or \"http\"",
    ] {
        assert!(stdout.contains(words), "{words} in\n{stdout}");
    }
    assert!(!stdout.contains("swordfish") && !stdout.contains("half set up"), "{stdout}");
}

#[test]
fn what_is_said_to_switch_a_kind_on_does() {
    let (nothing, _) = listed(&Environment::new(), &[]);
    let off = nothing["off"].as_array().expect("rows");
    assert!(off.len() >= 14 && nothing["providers"] == json!([]), "{nothing}");
    for row in off {
        let names: Vec<_> =
            row["missing"][0].as_array().expect("names").iter().map(|name| name.as_str().expect("text")).collect();
        let set: Vec<_> = names.iter().map(|name| (*name, "swordfish")).collect();
        let (one, _) = listed(&environment(&set), &[]);
        let on = find(&one, "providers", row["kind"].as_str().expect("text"));
        let mut from: Vec<_> =
            on["from"].as_array().expect("names").iter().map(|name| name.as_str().expect("text")).collect();
        from.sort_unstable();
        let mut names = names;
        names.sort_unstable();
        assert_eq!((from, one["providers"].as_array().expect("rows").len()), (names, 1), "{row}");
    }
}

#[test]
fn what_comes_from_a_file_names_the_file_and_the_variables_over_it() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("otpd.toml");
    let text = "[providers.sms]\nkind = \"twilio\"\naccount_sid = \"AC1\"\nfrom = \"Shop\"\n";
    std::fs::write(&file, text).expect("settings");
    let file = file.to_str().expect("UTF-8");
    let environment = environment(&[("OTPD_PROVIDERS__SMS__AUTH_TOKEN", "swordfish")]);
    let (listed, _) = listed(&environment, &["--config", file]);
    let sms = find(&listed, "providers", "sms");
    assert_eq!((&sms["from"], &sms["status"]), (&json!([file, "OTPD_PROVIDERS__SMS__AUTH_TOKEN"]), &json!("on")));
}

#[test]
fn what_is_half_set_up_or_wrong_says_what_is_missing() {
    let environment = environment(&[
        ("SENDGRID_API_KEY", "swordfish"),
        ("TWILIO_ACCOUNT_SID", "AC0123456789"),
        ("TWILIO_AUTH_TOKEN", "swordfish"),
    ]);
    let (listed, log) = listed(&environment, &[]);
    let half =
        json!({"kind": "sendgrid", "channels": ["email"], "set": ["SENDGRID_API_KEY"], "missing": [["SENDGRID_FROM"]]});
    assert_eq!(*find(&listed, "half", "sendgrid"), half);
    assert_eq!(log, "otpd: sendgrid stays off: SENDGRID_API_KEY alone will not do, set SENDGRID_FROM too\n");
    let twilio = find(&listed, "providers", "twilio");
    assert_eq!(twilio["status"], "wrong");
    assert!(twilio["problems"][0].as_str().expect("a problem").contains("TWILIO_FROM"), "{twilio}");
    let (_, stdout, _) = run(&["providers", "list"], &environment);
    assert!(stdout.contains("providers.twilio.from: ") && stdout.contains("half set up"), "{stdout}");
}

#[tokio::test]
async fn names_that_could_be_anybodys_are_answered_everywhere() {
    let unclear = [("SMS_API_KEY", "swordfish"), ("SMS_API_SECRET", "swordfish"), ("PLAYMOBILE_API_KEY", "swordfish")];
    let (listed, log) = listed(&environment(&unclear), &[]);
    for words in [
        "nothing reads SMS_API_KEY and SMS_API_SECRET, which could be any provider's: set those of yours, ",
        "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (twilio)",
        "PLAYMOBILE_USERNAME and PLAYMOBILE_PASSWORD (playmobile)",
        "nothing reads PLAYMOBILE_API_KEY: ",
    ] {
        assert!(log.contains(words) && listed["warnings"].to_string().contains(words), "{words} in {log}");
    }
    let (code, _, log) = run(&["config", "check", "--embedded"], &environment(&unclear));
    assert!(code == 0 && log.contains("nothing reads SMS_API_KEY"), "{log}");

    let otpd = Embedded::start_with(&unclear).await;
    otpd.process.says("nothing reads SMS_API_KEY and SMS_API_SECRET, which could be any provider's").await;
    assert!(!otpd.process.log_text().contains("swordfish"));
}

#[tokio::test]
async fn a_worker_says_at_its_start_what_is_half_set_up() {
    let servers = [
        ("OTPD_STORE__URL", "postgres://otpd@127.0.0.1:9/otpd"),
        ("OTPD_QUEUE__URL", "amqp://127.0.0.1:9/%2f"),
        ("OTPD_KEYS__ROOT", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        ("RESEND_API_KEY", "swordfish"),
    ];
    let worker = Process::start(&["worker", "--admin-listen", "127.0.0.1:0"], &environment(&servers));
    worker.says("resend stays off: RESEND_API_KEY alone will not do, set RESEND_FROM too").await;
}
