//! `otpd providers`: how providers are, which there are, and the table of them in the documentation.

mod list;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::environment;
use crate::delivery::vendor::{AUTH_TOKEN, Answer, SECRET, Vendor};
use crate::harness::clock::TestClock;
use crate::harness::process::{Environment, Process, run};

fn twilio(vendor: &Vendor) -> Environment {
    environment(&[
        ("OTPD_PROVIDERS__TWILIO__ACCOUNT_SID", "AC0123456789"),
        ("OTPD_PROVIDERS__TWILIO__AUTH_TOKEN", AUTH_TOKEN),
        ("OTPD_PROVIDERS__TWILIO__FROM", "+15005550006"),
        ("OTPD_PROVIDERS__TWILIO__BASE_URL", &vendor.url),
    ])
}

fn with_own(vendor: &Vendor) -> Environment {
    let own = environment(&[
        ("OTPD_PROVIDERS__OWN__KIND", "webhook"),
        ("OTPD_PROVIDERS__OWN__URL", &vendor.url),
        ("OTPD_PROVIDERS__OWN__SECRETS", SECRET),
        ("OTPD_PROVIDERS__OWN__CHANNELS", "sms,email"),
    ]);
    twilio(vendor).into_iter().chain(own).collect()
}

/// A vendor that answers checks like this.
fn vendor(answer: Answer) -> Vendor {
    let vendor = Vendor::start(Answer::queued());
    vendor.answer_checks(answer);
    vendor
}

/// Stderr without what is said to those who wait: on a busy machine anybody may have to.
fn but_for_waiting(log: &str) -> String {
    log.lines().filter(|line| !line.contains(" have answered; waiting for ")).map(|line| format!("{line}\n")).collect()
}

/// `providers check --json` of one Twilio: the exit code, what it says of it, and stderr.
fn checked(answer: Answer) -> (i32, Value, String) {
    let vendor = vendor(answer);
    let (code, stdout, log) = run(&["providers", "check", "--json"], &twilio(&vendor));
    let mut checked: Value = serde_json::from_str(&stdout).expect("JSON alone on stdout");
    assert_eq!(vendor.count(), 0, "nothing is sent");
    assert!(!stdout.contains(AUTH_TOKEN) && !log.contains(AUTH_TOKEN), "{stdout}{log}");
    (code, checked[0].take(), but_for_waiting(&log))
}

#[test]
fn a_healthy_vendor_is_shown_whole() {
    let (code, mut checked, log) = checked(Answer::account("12.50"));
    assert_eq!((code, log.as_str()), (0, ""));
    assert!(checked["took_ms"].take().is_u64());
    let skew = checked["clock_skew_s"].take().as_i64().expect("seconds");
    assert!(skew.abs() < 30, "{skew}");
    let expected = json!({
        "provider": "twilio", "kind": "twilio", "channels": ["sms"], "status": "ok",
        "reachable": true, "credentials": true, "balance": "12.50 USD", "balance_amount": 12.5, "sender": null,
        "clock_skew_s": null, "cause": null, "advice": null, "detail": null, "took_ms": null,
    });
    assert_eq!(checked, expected);
}

#[test]
fn people_get_an_aligned_table() {
    let vendor = vendor(Answer::account("12.50"));
    let (code, stdout, log) = run(&["providers", "check"], &with_own(&vendor));
    assert_eq!((code, but_for_waiting(&log).as_str()), (0, ""));
    let lines: Vec<_> = stdout.lines().collect();
    let [head, own, twilio] = lines.as_slice() else { panic!("{stdout}") };
    for (name, of_own, of_twilio) in [
        ("provider", "own", "twilio"),
        ("kind", "webhook", "twilio"),
        ("channels", "sms,email", "sms"),
        ("reachable", "yes", "yes"),
        ("credentials", "-", "yes"),
        ("balance", "-", "12.50 USD"),
        ("sender", "-", "-"),
        ("what to do", "nothing", "nothing"),
    ] {
        let at = head.find(name).expect(name);
        assert!(own[at..].starts_with(of_own) && twilio[at..].starts_with(of_twilio), "{name} in\n{stdout}");
    }
}

#[test]
fn refused_credentials_are_told_with_advice_and_without_the_secrets_that_the_vendor_repeats() {
    let said = format!(r#"{{"code":20003,"message":"{AUTH_TOKEN} of AC0123456789 is wrong"}}"#);
    let (code, checked, log) = checked(Answer::new(401, &said));
    assert_eq!((code, log.as_str()), (1, "otpd: broken: twilio\n"));
    assert_eq!(
        (&checked["status"], &checked["credentials"], &checked["cause"]),
        (&json!("broken"), &json!(false), &json!("misconfigured_credentials"))
    );
    assert!(
        checked["advice"].as_str().expect("advice").starts_with("the provider refused the credentials: check them")
    );
    assert_eq!(checked["detail"], "401 20003: *** of *** is wrong");

    let (code, stdout, _) = run(&["providers", "check"], &twilio(&vendor(Answer::new(401, &said))));
    assert_eq!(code, 1);
    assert!(stdout.contains("\n\ntwilio: 401 20003: *** of *** is wrong\n"), "{stdout}");
    assert!(stdout.contains("  no "), "{stdout}");
}

#[test]
fn spent_money_and_a_vendor_in_trouble_are_told_apart() {
    let (code, checked, _) = self::checked(Answer::account("0.00"));
    assert_eq!(
        (code, &checked["cause"], &checked["balance_amount"]),
        (1, &json!("misconfigured_balance"), &json!(0.0))
    );
    assert_eq!(checked["credentials"], true);
    let (code, checked, _) = self::checked(Answer::new(503, "closed for repairs"));
    assert_eq!((code, &checked["cause"], &checked["reachable"]), (1, &json!("unavailable"), &json!(true)));
    let (code, checked, _) = self::checked(Answer::refused(429, 20429));
    assert_eq!((code, &checked["status"], &checked["cause"]), (0, &json!("warning"), &json!("throttled")));
}

#[test]
fn a_vendor_that_is_away_holds_nobody_up() {
    let silent = vendor(Answer::account("12.50"));
    silent.hold_checks();
    let mut environment = with_own(&silent);
    let more =
        [("OTPD_WORKER__PROVIDER_TIMEOUT_MS", "2000"), ("OTPD_PROVIDERS__TWILIO__BASE_URL", "http://127.0.0.1:9")];
    environment.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let (code, stdout, log) = run(&["providers", "check", "--json"], &environment);
    let checked: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, but_for_waiting(&log).as_str()), (1, "otpd: broken: own, twilio\n"));
    for (n, why) in ["no answer within 2 s", "error sending request"].into_iter().enumerate() {
        assert_eq!(
            (&checked[n]["reachable"], &checked[n]["cause"]),
            (&json!(false), &json!("unreachable")),
            "{checked}"
        );
        assert!(checked[n]["detail"].as_str().expect("why").contains(why), "{checked}");
    }
}

#[test]
fn a_clock_that_goes_wrong_is_told_of_and_then_an_error() {
    let vendor = vendor(Answer::account("12.50"));
    let dir = TempDir::new().expect("a directory");
    let clock = TestClock::in_dir(dir.path());
    let check = || {
        let (code, stdout, _) = run(&["providers", "check", "--json", "--clock-file", clock.file()], &twilio(&vendor));
        let checked: Value = serde_json::from_str(&stdout).expect("JSON");
        (code, checked[0].clone())
    };
    for (forward, exit, status) in [(90, 0, "warning"), (510, 1, "broken")] {
        clock.advance(Duration::from_secs(forward));
        let (code, checked) = check();
        assert_eq!((code, &checked["status"], &checked["cause"]), (exit, &json!(status), &json!("clock_skew")));
        assert!(checked["advice"].as_str().expect("advice").contains("s ahead of the provider's: set it by NTP"));
    }
    assert!((570..=630).contains(&check().1["clock_skew_s"].as_i64().expect("seconds")));
}

#[tokio::test]
async fn whoever_waits_is_told_what_for() {
    let vendor = vendor(Answer::account("12.50"));
    vendor.hold_checks();
    let mut check = Process::start(&["providers", "check"], &with_own(&vendor));
    check.says("otpd: 0 of 2 have answered; waiting for own, twilio").await;
    vendor.go_on_with_checks();
    assert_eq!(check.ended().await.code(), Some(0));
}

#[test]
fn one_provider_can_be_asked_for_whatever_is_wrong_with_others() {
    let vendor = vendor(Answer::account("12.50"));
    let mut environment = with_own(&vendor);
    environment.insert("OTPD_PROVIDERS__SMTP__PORT".to_owned(), "many".to_owned());
    let (code, _, log) = run(&["providers", "check"], &environment);
    assert_eq!(code, 78);
    assert!(log.contains("providers.smtp.port: must be a port number"), "{log}");
    let (code, stdout, log) = run(&["providers", "check", "twilio", "--json"], &environment);
    assert_eq!((code, but_for_waiting(&log).as_str()), (0, ""));
    let checked: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((checked.as_array().expect("a list").len(), &checked[0]["provider"]), (1, &json!("twilio")));
    assert!(vendor.checks().iter().all(|asked| asked.path.starts_with("/2010-04-01/Accounts/")));

    let (code, stdout, log) = run(&["providers", "check", "eskiz"], &environment);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert_eq!(
        log,
        "otpd: there is no provider eskiz: there are own, smtp, twilio; to switch it on, set ESKIZ_EMAIL and ESKIZ_PASSWORD\n"
    );
    let (code, _, log) = run(&["providers", "check", "pigeon"], &Environment::new());
    assert_eq!((code, log.as_str()), (2, "otpd: there is no provider pigeon: none is set up\n"));
}

#[test]
fn without_providers_there_is_nothing_to_check() {
    let (code, stdout, log) = run(&["providers", "check"], &Environment::new());
    assert_eq!((code, log.as_str()), (0, ""));
    assert!(stdout.starts_with("no provider is set up"), "{stdout}");
    assert_eq!(run(&["providers", "check", "--json"], &Environment::new()).1, "[]\n");
}

#[test]
fn the_table_in_the_documentation_is_fresh() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md")).expect("the page");
    let (code, table, log) = run(&["providers", "table"], &Environment::new());
    assert_eq!(code, 0, "{log}");
    let stale = "the table in docs/providers.md is stale: cargo run -- providers table --into docs/providers.md";
    assert!(page.contains(&format!("docs/providers.md -->\n{table}<!-- end of the table -->\n")), "{stale}");
    let vendors = table.lines().skip(2).filter_map(|row| Some(row.split_once("(#")?.1.split_once(')')?.0.to_owned()));
    for vendor in vendors {
        assert!(page.contains(&format!("\n## {vendor}\n")), "{vendor} has no section");
    }
    let dir = TempDir::new().expect("a directory");
    let copy = dir.path().join("page.md");
    fs::write(&copy, page.replace(&table, "| old |\n")).expect("a copy");
    let (code, ..) = run(&["providers", "table", "--into", copy.to_str().expect("UTF-8")], &Environment::new());
    assert_eq!((code, fs::read_to_string(&copy).expect("the copy")), (0, page));
}
