//! Bodies that are none: every door says so in its own shape, before it looks at anything else.

use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{Rig, check, rigged};
use crate::harness::Reply;
use crate::harness::client::reply;

rigged!(
    bodies_that_are_none_are_told_in_the_doors_shape,
    other_methods_are_told_in_the_doors_shape,
    unknown_fields_are_ignored_and_types_may_have_parameters,
);

const PATHS: [&str; 11] = [
    "/api/send-otp",
    "/api/verify-otp",
    "/api/auth/send-otp",
    "/api/auth/verify-otp",
    "/auth/mobile",
    "/auth/code",
    "/auth/refresh-token",
    "/send-otp",
    "/verify-otp",
    "/webhook/send-otp",
    "/webhook/verify-otp",
];

/// A refusal as the door of this path writes it.
fn told(path: &str, status: u16, message: &str, code: &str) -> Value {
    match path.split('/').nth(1) {
        Some("api") => json!({ "message": message }),
        Some("auth") => json!({ "statusCode": status, "message": message }),
        _ => json!({ "success": false, "data": null, "message": message, "error": { "code": code } }),
    }
}

async fn post(rig: &Rig, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Reply {
    let request = rig.request(Method::POST, path).header("x-api-key", &rig.client.key);
    reply(request.header("content-type", content_type).body(body)).await
}

async fn bodies_that_are_none_are_told_in_the_doors_shape(rig: Rig) {
    let large = format!("{{\"phone\":\"{}\"}}", "1".repeat(17_000));
    for path in PATHS {
        let refused = |status, message: &str, code| (status, told(path, status, message, code));
        let too_large = refused(413, "Body must be at most 16 KiB", "body_too_large");
        let wrong_type = refused(415, "Content-Type must be application/json", "unsupported_media_type");
        let no_body = refused(400, "Body is required", "invalid_request");
        let no_object = refused(400, "Body must be a JSON object", "invalid_request");
        for (content_type, body, (status, expected)) in [
            ("application/json", large.as_str(), &too_large),
            ("text/plain", &large, &too_large),
            ("text/plain", "{}", &wrong_type),
            ("application/x-www-form-urlencoded", "phone=1", &wrong_type),
            ("application/json", "", &no_body),
            ("application/json", "[]", &no_object),
            ("application/json", "null", &no_object),
            ("application/json", "\"text\"", &no_object),
        ] {
            check(&post(&rig, path, content_type, body.to_owned()).await, *status, expected);
        }
        let chunks = futures_util::stream::iter((0..6).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4096])));
        let chunked = post(&rig, path, "application/json", reqwest::Body::wrap_stream(chunks)).await;
        check(&chunked, too_large.0, &too_large.1);
        for bad in [&b"{"[..], b"{\"phone\":\"\\ud800\"}", b"{\"phone\":\"\xff\"}", b"{\"phone\":+1}", b"{}{}"] {
            let answer = post(&rig, path, "application/json", bad.to_vec()).await;
            let message = answer.text("message").to_owned();
            assert!(message.starts_with("Body is not valid JSON: "), "{message}");
            check(&answer, 400, &told(path, 400, &message, "invalid_request"));
        }
    }
}

async fn other_methods_are_told_in_the_doors_shape(rig: Rig) {
    for path in PATHS {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = reply(rig.request(method, path)).await;
            check(&answer, 405, &told(path, 405, "Method not allowed", "method_not_allowed"));
            assert_eq!(answer.header("allow"), Some("POST"), "{path}");
        }
    }
}

async fn unknown_fields_are_ignored_and_types_may_have_parameters(rig: Rig) {
    let body = r#"{"phoneNumber":"+14155552671","locale":5,"ttl":"x","recordId":"","session":false}"#;
    let sent = post(&rig, "/api/send-otp", "application/json; charset=utf-8", body).await;
    check(&sent, 200, &json!({ "message": "OTP sent successfully" }));
}
