//! The doors as other people's programs call them: Python's requests and Node's fetch, in the shapes of the doors' own
//! documents.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{node, python, told};
use crate::harness::client::reply;
use crate::harness::{Client, Embedded};

/// The same program in both languages.
fn callers() -> [Command; 2] {
    [python("doors.py"), node("doors.mjs")]
}

fn call(mut caller: Command, client: &Client, what: &[&str]) -> Value {
    told(caller.args([&client.urls[0], &client.project.id, &client.key]).args(what))
}

fn refused(status: u16, message: &str, code: &str) -> Value {
    json!([status, { "success": false, "data": null, "message": message, "error": { "code": code } }])
}

/// Signs in at the login door; the token.
async fn token(client: &Client, phone: &str) -> String {
    let body = json!({ "phoneNumber": phone });
    reply(client.http.post(client.url("/api/send-otp")).json(&body)).await.expect(200);
    let body = json!({ "phoneNumber": phone, "otp": client.code(phone).await });
    let right = reply(client.http.post(client.url("/api/verify-otp")).json(&body)).await;
    right.expect(200).text("token").to_owned()
}

#[tokio::test]
async fn the_openlyne_samples_work() {
    let bad_phone = "phone must be a phone number with its country code, such as 256700123456";
    let contact = json!({ "message": "OTP verified successfully", "contact_value": "256700123456" });
    let to = json!({ "status": "Sent", "number": "256700123456" });
    let expected = json!({
        "sent": [200, { "success": true, "data": to, "message": "OTP sent successfully", "error": null }],
        "again": refused(429, "Too many requests - Rate limit exceeded", "cooldown"),
        "wrong": refused(400, "Invalid OTP", "invalid_code"),
        "right": [200, { "success": true, "data": contact, "message": "Verification successful", "error": {} }],
        "used": refused(400, "OTP has been used", "code_used"),
        "noUuid": refused(400, "uid must be a UUID", "invalid_request"),
        "noNumber": refused(400, bad_phone, "invalid_request"),
        "stranger": refused(401, "Invalid API key", "invalid_api_key"),
    });
    for caller in callers() {
        let otpd = Embedded::start().await;
        assert_eq!(call(caller, &otpd.client(), &["openlyne"]), expected);
    }
}

#[tokio::test]
async fn the_protected_route_tells_every_bad_header_from_a_missing_one() {
    let (otpd, elsewhere) = (Embedded::start().await, Embedded::start().await);
    let client = otpd.client();
    let (expired, foreign) = (token(&client, "+14155552671").await, token(&elsewhere.client(), "+14155552671").await);
    otpd.clock.advance(Duration::from_secs(16 * 60));
    let good = token(&client, "+14155552672").await;
    let invalid = json!([401, { "message": "Invalid credentials" }]);
    let expected = json!({
        "missing": [401, { "message": "Missing credentials" }],
        "alone": invalid,
        "other": invalid,
        "empty": invalid,
        "garbage": invalid,
        "noScheme": invalid,
        "expired": invalid,
        "foreign": invalid,
        "good": [200, ["channel", "expiresAt", "id", "issuedAt", "project"]],
    });
    for caller in callers() {
        assert_eq!(call(caller, &client, &["me", &good, &expired, &foreign]), expected);
    }
}
