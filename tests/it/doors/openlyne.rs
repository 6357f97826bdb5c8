//! The openlyne door: its key, its envelopes, its limits, and whose code a uid's is.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{Rig, check, other_than, rigged};
use crate::harness::client::{Reply, reply};

rigged!(
    a_user_is_verified_at_either_path,
    numbers_are_taken_as_callers_write_them,
    every_refused_send_says_why,
    every_refused_code_says_why,
    the_key_alone_says_whose_it_is,
    a_uid_has_one_code_and_a_cooldown,
    a_code_lives_for_three_minutes,
    a_uid_that_looks_like_a_server_id_is_not_one,
    the_sandbox_is_asked_for_by_key_or_by_env,
    a_code_that_went_to_somebody_else_too_verifies_no_number,
);

pub(super) const UID: &str = "123e4567-e89b-12d3-a456-426614174000";
pub(super) const NUMBER: &str = "+256700123456";

pub(super) async fn call(rig: &Rig, key: &str, path: &str, body: &Value) -> Reply {
    let request = rig.client.http.post(rig.client.url(path));
    reply(request.header("x-api-key", key).json(body)).await
}

pub(super) async fn send(rig: &Rig, body: &Value) -> Reply {
    call(rig, &rig.client.key, "/send-otp", body).await
}

pub(super) async fn verify(rig: &Rig, uid: &str, code: &str) -> Reply {
    call(rig, &rig.client.key, "/verify-otp", &json!({ "uid": uid, "code": code })).await
}

pub(super) fn refused(message: &str, code: &str) -> Value {
    json!({ "success": false, "data": null, "message": message, "error": { "code": code } })
}

pub(super) fn verified(number: &str) -> Value {
    let data = json!({ "message": "OTP verified successfully", "contact_value": number });
    json!({ "success": true, "data": data, "message": "Verification successful", "error": {} })
}

fn sent(number: &str) -> Value {
    let data = json!({ "status": "Sent", "number": number });
    json!({ "success": true, "data": data, "message": "OTP sent successfully", "error": null })
}

async fn a_user_is_verified_at_either_path(rig: Rig) {
    for (nth, prefix) in ["", "/webhook"].into_iter().enumerate() {
        let (phone, uid) = (256_700_123_450 + nth as u64, format!("123e4567-e89b-12d3-a456-42661417400{nth}"));
        let key = rig.client.key.clone();
        let accepted = call(&rig, &key, &format!("{prefix}/send-otp"), &json!({ "phone": phone, "uid": uid })).await;
        check(&accepted, 200, &sent(&phone.to_string()));
        let code = rig.code(&format!("+{phone}")).await;
        assert_eq!(code.len(), 6);
        let guess = json!({ "uid": uid, "code": code });
        let right = call(&rig, &key, &format!("{prefix}/verify-otp"), &guess).await;
        check(&right, 200, &verified(&phone.to_string()));
    }
}

async fn numbers_are_taken_as_callers_write_them(rig: Rig) {
    let written =
        [json!(256_700_123_456_u64), json!("256700123456"), json!("+256700123456"), json!("00256 700-123456")];
    for phone in written {
        check(&send(&rig, &json!({ "phone": phone, "uid": UID, "env": null })).await, 200, &sent("256700123456"));
        rig.client.clock.advance(Duration::from_secs(720));
    }
}

async fn every_refused_send_says_why(rig: Rig) {
    let bad_phone = "phone must be a phone number with its country code, such as 256700123456";
    for (phone, told) in [
        (json!(null), "phone is required"),
        (json!(""), "phone is required"),
        (json!("0700123456"), bad_phone),
        (json!("256"), bad_phone),
        (json!("++256700123456"), bad_phone),
        (json!("nonsense"), bad_phone),
        (json!(9_990_000_001_u64), bad_phone),
        (json!(25_670_012_345.6), "phone must be a string or a whole number"),
        (json!(-256_700_123_456_i64), "phone must be a string or a whole number"),
        (json!([256_700_123_456_u64]), "phone must be a string or a whole number"),
        (json!("256700\u{0}123456"), "phone must not contain NUL"),
    ] {
        let answer = send(&rig, &json!({ "phone": phone, "uid": UID })).await;
        check(&answer, 400, &refused(told, "invalid_request"));
    }
    for (uid, told) in [
        (json!(null), "uid is required"),
        (json!("user-1"), "uid must be a UUID"),
        (json!("123e4567-e89b-12d3-a456-42661417400g"), "uid must be a UUID"),
        (json!(5), "uid must be a string"),
    ] {
        let answer = send(&rig, &json!({ "phone": 256_700_123_456_u64, "uid": uid })).await;
        check(&answer, 400, &refused(told, "invalid_request"));
    }
    for (env, told) in
        [(json!("production"), "env must be sandbox, or left out for live mode"), (json!(true), "env must be a string")]
    {
        let answer = send(&rig, &json!({ "phone": 256_700_123_456_u64, "uid": UID, "env": env })).await;
        check(&answer, 400, &refused(told, "invalid_request"));
    }
    let tokens = rig.client.get("/api/v1/otp/token-info").await.expect(200).body;
    assert_eq!(tokens["tokensUsed"], 0, "a refused send costs nothing");
}

async fn every_refused_code_says_why(rig: Rig) {
    check(&verify(&rig, UID, "123456").await, 400, &refused("No OTP was sent for this uid", "not_found"));
    send(&rig, &json!({ "phone": 256_700_123_456_u64, "uid": UID })).await.expect(200);
    let code = rig.code(NUMBER).await;
    for (body, told) in [
        (json!({ "code": code }), "uid is required"),
        (json!({ "uid": "user-1", "code": code }), "uid must be a UUID"),
        (json!({ "uid": UID }), "code is required"),
        (json!({ "uid": UID, "code": "12345a" }), "code must be 4 to 10 digits"),
        (json!({ "uid": UID, "code": [code] }), "code must be a string or a whole number"),
    ] {
        let answer = call(&rig, &rig.client.key, "/verify-otp", &body).await;
        check(&answer, 400, &refused(told, "invalid_request"));
    }
    for _ in 0..5 {
        check(&verify(&rig, UID, &other_than(&code)).await, 400, &refused("Invalid OTP", "invalid_code"));
    }
    check(&verify(&rig, UID, &code).await, 400, &refused("Too many attempts", "too_many_attempts"));

    let other = "123e4567-e89b-12d3-a456-426614174001";
    send(&rig, &json!({ "phone": 256_700_123_457_u64, "uid": other })).await.expect(200);
    let code = rig.code("+256700123457").await;
    rig.client.post("/api/v1/otp/cancel", &json!({ "recordId": other })).await.expect(200);
    check(&verify(&rig, other, &code).await, 400, &refused("OTP was canceled", "code_canceled"));
}

async fn the_key_alone_says_whose_it_is(rig: Rig) {
    let body = json!({ "phone": 256_700_123_456_u64, "uid": UID });
    for key in ["", "nonsense", "otpd_live_000000000000_0000000000000000000000000000000000000000"] {
        let answer = call(&rig, key, "/send-otp", &body).await;
        check(&answer, 401, &refused("Invalid API key", "invalid_api_key"));
    }
    let keyless = reply(rig.client.http.post(rig.client.url("/webhook/verify-otp")).json(&body)).await;
    check(&keyless, 401, &refused("Invalid API key", "invalid_api_key"));
    let large = reply(rig.request(Method::POST, "/send-otp").body("{".repeat(17_000))).await;
    check(&large, 413, &refused("Body must be at most 16 KiB", "body_too_large"));

    send(&rig, &body).await.expect(200);
    let code = rig.code(NUMBER).await;
    let stranger = rig.project(&[]);
    let guess = json!({ "uid": UID, "code": code });
    let foreign = call(&rig, &stranger.live_key, "/verify-otp", &guess).await;
    check(&foreign, 400, &refused("No OTP was sent for this uid", "not_found"));
    check(&verify(&rig, UID, &code).await, 200, &verified("256700123456"));
}

async fn a_uid_has_one_code_and_a_cooldown(rig: Rig) {
    send(&rig, &json!({ "phone": 256_700_123_456_u64, "uid": UID })).await.expect(200);
    let first = rig.code(NUMBER).await;
    let elsewhere = json!({ "phone": 256_700_123_457_u64, "uid": UID.to_uppercase() });
    let early = send(&rig, &elsewhere).await;
    check(&early, 429, &refused("Too many requests - Rate limit exceeded", "cooldown"));
    let wait: u64 = early.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");

    rig.client.clock.advance(Duration::from_secs(31));
    send(&rig, &elsewhere).await.expect(200);
    let second = rig.code("+256700123457").await;
    if first != second {
        check(&verify(&rig, UID, &first).await, 400, &refused("Invalid OTP", "invalid_code"));
    }
    check(&verify(&rig, UID, &second).await, 200, &verified("256700123457"));
    let records = rig.client.get(&format!("/api/v1/otp/records?recordId={UID}")).await.expect(200).body;
    assert_eq!(records["pagination"]["total"], 2);
}

async fn a_code_lives_for_three_minutes(rig: Rig) {
    let body = json!({ "phone": 256_700_123_456_u64, "uid": UID });
    send(&rig, &body).await.expect(200);
    let code = rig.code(NUMBER).await;
    rig.client.clock.advance(Duration::from_secs(181));
    check(&verify(&rig, UID, &code).await, 400, &refused("OTP has expired", "code_expired"));
    send(&rig, &body).await.expect(200);
    let code = rig.codes(NUMBER, 2).await.pop().expect("a code");
    rig.client.clock.advance(Duration::from_secs(160));
    check(&verify(&rig, UID, &code).await, 200, &verified("256700123456"));
}

async fn a_uid_that_looks_like_a_server_id_is_not_one(rig: Rig) {
    let body = json!({ "target": NUMBER, "channel": "sms" });
    let id = rig.client.send(&body).await.expect(202).text("recordId").to_owned();
    let theirs = rig.code(NUMBER).await;
    check(&verify(&rig, &id, &theirs).await, 400, &refused("No OTP was sent for this uid", "not_found"));

    send(&rig, &json!({ "phone": 256_700_123_457_u64, "uid": id })).await.expect(200);
    let ours = rig.code("+256700123457").await;
    check(&verify(&rig, &id, &ours).await, 200, &verified("256700123457"));
    let guess = json!({ "target": NUMBER, "code": theirs, "recordId": id });
    let verified = rig.client.post("/api/v1/otp/verify", &guess).await.expect(200);
    assert_eq!((&verified.body["valid"], &verified.body["recordId"]), (&json!(true), &json!(id)));
}

async fn the_sandbox_is_asked_for_by_key_or_by_env(rig: Rig) {
    let sandbox = rig.client.project.sandbox_key.clone();
    let other = "123e4567-e89b-12d3-a456-426614174001";
    let by_env = json!({ "phone": 256_700_123_456_u64, "uid": UID, "env": "sandbox" });
    send(&rig, &by_env).await.expect(200);
    let by_key = json!({ "phone": 256_700_123_457_u64, "uid": other, "env": "live" });
    call(&rig, &sandbox, "/send-otp", &by_key).await.expect(200);
    let code = rig.client.code(NUMBER).await;
    let mut foreign = verified("256700123456");
    foreign["data"]["mode"] = json!("sandbox");
    check(&verify(&rig, UID, &code).await, 200, &foreign);
    let code = rig.client.code("+256700123457").await;
    let guess = json!({ "uid": other, "code": code });
    check(&call(&rig, &sandbox, "/verify-otp", &guess).await, 200, &verified("256700123457"));
    let magic = json!({ "phone": 9_990_000_001_u64, "uid": UID, "env": "sandbox" });
    rig.client.clock.advance(Duration::from_secs(31));
    check(&send(&rig, &magic).await, 200, &sent("9990000001"));
    assert!(rig.stub.arrivals().is_empty(), "nothing has left the house");

    let live = "123e4567-e89b-12d3-a456-426614174002";
    send(&rig, &json!({ "phone": 256_700_123_458_u64, "uid": live })).await.expect(200);
    let code = rig.code("+256700123458").await;
    let guess = json!({ "uid": live, "code": code });
    let blind = call(&rig, &sandbox, "/verify-otp", &guess).await;
    check(&blind, 400, &refused("No OTP was sent for this uid", "not_found"));
    check(&verify(&rig, live, &code).await, 200, &verified("256700123458"));
}

async fn a_code_that_went_to_somebody_else_too_verifies_no_number(rig: Rig) {
    send(&rig, &json!({ "phone": NUMBER, "uid": UID })).await.expect(200);
    let code = rig.code(NUMBER).await;
    rig.client.clock.advance(Duration::from_secs(31));
    // The same one, sent again by v1, which may name another target.
    let chain = json!([{ "channel": "email", "after": 20, "target": "ann@example.com" }]);
    let again = json!({ "target": NUMBER, "channel": "sms", "recordId": UID, "fallback": chain });
    rig.client.send(&again).await.expect(202);
    rig.codes(NUMBER, 2).await;
    rig.client.clock.advance(Duration::from_secs(20));
    assert_eq!(rig.code("ann@example.com").await, code);
    check(&verify(&rig, UID, &code).await, 400, &refused("The OTP of this uid went to several targets", "not_found"));
}
