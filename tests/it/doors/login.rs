//! The login door: a phone number and its code for a token.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{Rig, check, claims, number, other_than, rigged};
use crate::harness::client::reply;
use crate::harness::process::Process;

rigged!(
    a_number_and_its_code_are_a_token_once,
    every_refused_send_says_why,
    every_refused_code_gets_one_answer,
    five_guesses_are_all,
    a_code_lives_for_five_minutes,
    a_resend_repeats_the_code_after_the_cooldown,
    of_twenty_right_answers_one_wins,
    known_and_unknown_numbers_are_answered_alike,
    nothing_is_logged_that_a_thief_would_like,
);

fn message(text: &str) -> Value {
    json!({ "message": text })
}

async fn a_number_and_its_code_are_a_token_once(rig: Rig) {
    let sent = rig.post("/api/send-otp", &json!({ "phoneNumber": "+1 (415) 555-2671" })).await;
    check(&sent, 200, &message("OTP sent successfully"));
    let code = rig.code("+14155552671").await;
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    let right = rig.log_in("+14155552671", &code).await.expect(200);
    let token = right.text("token").to_owned();
    assert_eq!(right.body, json!({ "token": token }));
    check(&rig.log_in("+14155552671", &code).await, 401, &message("Invalid or expired OTP"));

    let claims = claims(&token);
    let project = json!(rig.client.project.id);
    assert_eq!((&claims["aud"], &claims["project"], &claims["channel"]), (&project, &project, &json!("sms")));
    assert!(!claims.to_string().contains("4155552671"));
    let me = rig.me(&token).await.expect(200).body;
    let (issued, expires) = (&claims["iat"], &claims["exp"]);
    let known =
        json!({ "id": claims["sub"], "project": project, "channel": "sms", "issuedAt": issued, "expiresAt": expires });
    assert_eq!(me, known);
    let no_header = reply(rig.request(Method::GET, "/api/me")).await;
    check(&no_header, 401, &message("Missing credentials"));
    check(&rig.me("garbage").await, 401, &message("Invalid credentials"));
}

async fn every_refused_send_says_why(rig: Rig) {
    for falsy in [json!({}), json!({ "phoneNumber": "" }), json!({ "phoneNumber": null }), json!({ "phone": "+1" })] {
        check(&rig.post("/api/send-otp", &falsy).await, 400, &message("Phone number is required"));
    }
    let bad = [
        json!("nonsense"),
        json!("+1415"),
        json!("4155552671"),
        json!(4_155_552_671_u64),
        json!("+12015550000000"),
        json!("+9990000001"),
        json!("ann@example.com"),
        json!("+1415\u{0}5552671"),
        json!(["+14155552671"]),
        json!({ "number": "+14155552671" }),
        json!(true),
        json!(1.5),
        json!("4".repeat(1000)),
    ];
    for phone in bad {
        let refused = rig.post("/api/send-otp", &json!({ "phoneNumber": phone })).await;
        check(&refused, 400, &message("Phone number is invalid"));
    }
    rig.update(&["--countries", "UZ"]);
    crate::harness::eventually("the other countries are refused", || async {
        let refused = rig.post("/api/send-otp", &json!({ "phoneNumber": "+14155552671" })).await;
        (refused.status == 400).then(|| check(&refused, 400, &message("Phone number is invalid")))
    })
    .await;
}

async fn every_refused_code_gets_one_answer(rig: Rig) {
    let code = rig.logging_in("+14155552671").await;
    let missing = message("Phone number and OTP are required");
    for body in [json!({}), json!({ "phoneNumber": "+14155552671" }), json!({ "otp": code, "phoneNumber": "" })] {
        check(&rig.post("/api/verify-otp", &body).await, 400, &missing);
    }
    let refused = message("Invalid or expired OTP");
    for (phone, otp) in [
        ("+14155552671", other_than(&code).as_str()),
        ("+14155552671", "12345"),
        ("+14155552671", "12345a"),
        ("+14155552672", &code),
        ("nonsense", &code),
    ] {
        check(&rig.log_in(phone, otp).await, 401, &refused);
    }
    for (phone, otp, named) in [
        (json!(["+14155552671"]), json!(code), "phoneNumber must be a string or a whole number"),
        (json!("+14155552671"), json!([code]), "otp must be a string or a whole number"),
        (json!("+14155552671"), json!("12\u{0}456"), "otp must not contain NUL"),
    ] {
        let body = json!({ "phoneNumber": phone, "otp": otp });
        check(&rig.post("/api/verify-otp", &body).await, 400, &message(named));
    }
    rig.log_in("+14155552671", &code).await.expect(200);
}

async fn five_guesses_are_all(rig: Rig) {
    let code = rig.logging_in("+14155552671").await;
    for _ in 0..5 {
        rig.log_in("+14155552671", &other_than(&code)).await.expect(401);
    }
    check(&rig.log_in("+14155552671", &code).await, 401, &message("Invalid or expired OTP"));
    rig.client.clock.advance(Duration::from_secs(31));
    let locked = rig.post("/api/send-otp", &json!({ "phoneNumber": "+14155552671" })).await;
    check(&locked, 429, &message("Too many requests - Rate limit exceeded"));
    let wait: u64 = locked.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((200..=270).contains(&wait), "until the locked code expires: {wait}");
}

async fn a_code_lives_for_five_minutes(rig: Rig) {
    let code = rig.logging_in("+14155552671").await;
    rig.client.clock.advance(Duration::from_secs(301));
    check(&rig.log_in("+14155552671", &code).await, 401, &message("Invalid or expired OTP"));
    let code = rig.logging_in("+14155552671").await;
    rig.client.clock.advance(Duration::from_secs(270));
    rig.log_in("+14155552671", &code).await.expect(200);
}

async fn a_resend_repeats_the_code_after_the_cooldown(rig: Rig) {
    let code = rig.logging_in("+14155552671").await;
    let early = rig.post("/api/send-otp", &json!({ "phoneNumber": "+1 415 555 2671" })).await;
    check(&early, 429, &message("Too many requests - Rate limit exceeded"));
    for (name, most) in
        [("retry-after", 30), ("ratelimit-limit", 1), ("ratelimit-remaining", 0), ("ratelimit-reset", 30)]
    {
        let value: u64 = early.header(name).expect(name).parse().expect(name);
        assert!(value <= most, "{name}: {value}");
    }
    rig.client.clock.advance(Duration::from_secs(31));
    assert_eq!(rig.logging_in("+14155552671").await, code);
    rig.log_in("+14155552671", &code).await.expect(200);
}

async fn of_twenty_right_answers_one_wins(rig: Rig) {
    let code = rig.logging_in("+14155552671").await;
    let replies = join_all((0..20).map(|_| rig.log_in("+14155552671", &code))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert!(replies.iter().all(|reply| reply.status == 200 || reply.body == message("Invalid or expired OTP")));
}

async fn known_and_unknown_numbers_are_answered_alike(rig: Rig) {
    let (known, unknown) = (number(1), number(2));
    let code = rig.logging_in(&known).await;
    rig.log_in(&known, &code).await.expect(200);
    rig.client.clock.advance(Duration::from_secs(86_400));
    let look = async |path: &str, body: Value| {
        let reply = rig.post(path, &body).await;
        let mut names: Vec<_> = reply.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        (reply.status, reply.body, names)
    };
    for (path, more) in [("/api/verify-otp", "123456"), ("/api/send-otp", ""), ("/api/verify-otp", "1234567")] {
        let of = |phone: &str| json!({ "phoneNumber": phone, "otp": more });
        assert_eq!(look(path, of(&known)).await, look(path, of(&unknown)).await, "{path}");
    }
}

async fn nothing_is_logged_that_a_thief_would_like(rig: Rig) {
    let code = rig.logging_in("+14155552671").await;
    rig.log_in("+14155552671", &other_than(&code)).await.expect(401);
    let token = rig.log_in("+14155552671", &code).await.expect(200).text("token").to_owned();
    rig.me(&token).await.expect(200);
    rig.me(&format!("{token}x")).await.expect(401);
    let log = rig.log_with("/api/verify-otp").await;
    for secret in [code.as_str(), "4155552671", token.as_str(), token.rsplit('.').next().expect("a signature")] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// `otpd serve` on a directory of its own, with these settings; its address.
pub(super) async fn serve(dir: &std::path::Path, settings: &[(&str, &str)]) -> (Process, String) {
    let environment = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let data = dir.join("data").to_str().expect("UTF-8").to_owned();
    let arguments = ["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let process = Process::start(&arguments, &environment);
    let url = format!("http://{}", process.logged("server.listen").await);
    (process, url)
}

#[tokio::test]
async fn what_goes_wrong_on_our_side_is_told_in_the_doors_words() {
    let rig = Rig::embedded(&[]).await;
    let dir = tempfile::TempDir::new().expect("a directory");
    let data = dir.path().join("data").to_str().expect("UTF-8").to_owned();
    let (first, _) = serve(dir.path(), &[]).await;
    let (code, made, log) = crate::harness::process::run(
        &["project", "create", "Shop", "--unlimited", "--json", "--data", &data],
        &crate::harness::process::Environment::new(),
    );
    assert_eq!(code, 0, "{log}");
    drop(first);
    let project = serde_json::from_str::<Value>(&made).expect("JSON")["project_id"].as_str().expect("an id").to_owned();
    let (_process, url) = serve(dir.path(), &[("OTPD_DOORS__LOGIN__PROJECT", &project)]).await;
    // There is no provider.
    let request = rig.client.http.post(format!("{url}/api/send-otp"));
    let failed = reply(request.json(&json!({ "phoneNumber": "+14155552671" }))).await;
    check(&failed, 503, &message("Failed to send OTP"));
    assert!(failed.header("retry-after").is_some());
}
