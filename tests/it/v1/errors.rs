//! What is refused, with which status, message and code, in the order in which requests are looked at.

use reqwest::Method;
use serde_json::{Value, json};

use crate::both_ways;
use crate::harness::client::reply;
use crate::harness::{Client, Reply};

both_ways!(
    keys_and_projects_are_refused_with_one_answer_each,
    bodies_are_looked_at_before_keys,
    every_bad_field_is_named,
    unknown_routes_and_methods_are_told_in_json,
    a_refused_request_costs_nothing,
);

#[track_caller]
fn check(reply: &Reply, status: u16, message: &str, code: &str) {
    let expected = json!({ "statusCode": status, "message": message, "code": code });
    assert_eq!((reply.status, &reply.body), (status, &expected));
}

async fn keys_and_projects_are_refused_with_one_answer_each(client: Client) {
    let url = client.url("/api/v1/otp/token-info");
    let get = |key: Option<&str>, project: Option<&str>| {
        let mut request = client.http.get(&url);
        for (name, value) in [("x-api-key", key), ("x-project-id", project)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        reply(request)
    };
    let (key, project) = (client.key.as_str(), client.project.id.as_str());
    let mut other_secret = key.to_owned();
    other_secret.replace_range(key.len() - 1.., if key.ends_with('0') { "1" } else { "0" });
    let unknown = "otpd_sandbox_000000000000_0000000000000000000000000000000000000000";
    for bad in [None, Some(""), Some("nonsense"), Some(unknown), Some(other_secret.as_str())] {
        check(&get(bad, Some(project)).await, 401, "Invalid API key", "invalid_api_key");
    }
    let foreign = "PRJ_00000000000000000000000000000000";
    for bad in [None, Some(""), Some("PRJ_1"), Some(foreign)] {
        let answer = get(Some(key), bad).await;
        check(&answer, 401, "Invalid project ID or access denied", "invalid_project");
    }
    assert_eq!(get(Some(key), Some(project)).await.status, 200);
}

async fn bodies_are_looked_at_before_keys(client: Client) {
    let post = |content_type: &'static str, body: String| {
        let request = client.http.post(client.url("/api/v1/otp/send"));
        reply(request.header("content-type", content_type).body(body))
    };
    let large = format!("{{\"target\":\"{}\"}}", "a".repeat(17_000));
    check(&post("text/plain", large.clone()).await, 413, "Body must be at most 16 KiB", "body_too_large");
    check(&post("application/json", large).await, 413, "Body must be at most 16 KiB", "body_too_large");
    let message = "Content-Type must be application/json";
    check(&post("text/plain", "{}".to_owned()).await, 415, message, "unsupported_media_type");
    check(&post("application/json", String::new()).await, 400, "Body is required", "invalid_request");
    check(&post("application/json", "{}".to_owned()).await, 401, "Invalid API key", "invalid_api_key");
    let chunks = futures_util::stream::iter((0..6).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4096])));
    let chunked = reqwest::Body::wrap_stream(chunks);
    let request = client.http.post(client.url("/api/v1/otp/send")).header("content-type", "application/json");
    assert_eq!(reply(request.body(chunked)).await.status, 413);
}

fn bad_sends() -> Vec<(Value, &'static str)> {
    vec![
        (json!({}), "channel is required"),
        (json!({ "channel": "email" }), "target is required"),
        (json!({ "channel": "pigeon", "target": "a@b.example" }), "channel must be one of sms, email, whatsapp"),
        (json!({ "channel": 5, "target": "a@b.example" }), "channel must be a string"),
        (json!({ "channel": "email", "target": "nobody" }), "target must be a valid e-mail address"),
        (json!({ "channel": "email", "target": ["a@b.example"] }), "target must be a string"),
        (json!({ "channel": "email", "target": "a\u{0}@b.example" }), "target must not contain NUL"),
        (json!({ "channel": "sms", "target": "+1415" }), "target must be a valid phone number"),
        (json!({ "channel": "sms", "target": "+12015550000000" }), "target must be a valid phone number"),
        (
            json!({ "channel": "email", "target": "a@b.example", "ttl": 601 }),
            "ttl must be a whole number from 1 to 600",
        ),
        (
            json!({ "channel": "email", "target": "a@b.example", "ttl": "9" }),
            "ttl must be a whole number from 1 to 600",
        ),
        (
            json!({ "channel": "email", "target": "a@b.example", "recordId": "" }),
            "recordId must be 1 to 128 characters",
        ),
        (
            json!({ "channel": "email", "target": "a@b.example", "recordId": "x".repeat(129) }),
            "recordId must be 1 to 128 characters",
        ),
        (
            json!({ "channel": "email", "target": "a@b.example", "recordId": "door:login" }),
            "recordId must not begin with \"door:\"",
        ),
        (
            json!({ "channel": "email", "target": "a@b.example", "locale": "not a tag" }),
            "locale must be a BCP 47 tag such as en or pt-BR",
        ),
        (json!({ "channel": "email", "target": "a@b.example", "clientIp": "here" }), "clientIp must be an IP address"),
        (
            json!({ "channel": "sms", "target": "4155552671", "countryCode": "Mars" }),
            "countryCode must be a calling code such as +1 or a region such as US",
        ),
        (
            json!({ "channel": "sms", "target": "+14155552671", "countryCode": "DE" }),
            "countryCode does not agree with target",
        ),
    ]
}

async fn every_bad_field_is_named(client: Client) {
    for (body, message) in bad_sends() {
        check(&client.send(&body).await, 400, message, "invalid_request");
    }
    for (channel, name) in [("sms", "SMS"), ("whatsapp", "WhatsApp")] {
        let answer = client.send(&json!({ "channel": channel, "target": "4155552671" })).await;
        check(&answer, 400, &format!("Country code is required for {name} channel"), "country_code_required");
    }
    let guesses = [
        (json!({ "code": "123456" }), "target is required"),
        (json!({ "target": "a@b.example" }), "code is required"),
        (json!({ "target": "a@b.example", "code": 123_456 }), "code must be a string"),
        (json!({ "target": "a@b.example", "code": "12345a" }), "code must be 4 to 10 digits"),
    ];
    for (body, message) in guesses {
        check(&client.post("/api/v1/otp/verify", &body).await, 400, message, "invalid_request");
    }
    check(&client.post("/api/v1/otp/cancel", &json!({})).await, 400, "recordId is required", "invalid_request");
    for body in ["[]", "nonsense", "{\"target\":\"\\ud800\"}", "\"text\""] {
        let request = client.request(Method::POST, "/api/v1/otp/send").header("content-type", "application/json");
        let answer = reply(request.body(body)).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &Value::from("invalid_request")), "{body}");
    }
}

async fn unknown_routes_and_methods_are_told_in_json(client: Client) {
    check(&client.get("/nowhere").await, 404, "No such route", "not_found");
    check(&client.get("/api/v1/otp/send").await, 405, "Method not allowed", "method_not_allowed");
    check(&client.get("/api/v1/otp/records/nonsense").await, 404, "No verification found", "not_found");
    let unknown = client.post("/api/v1/otp/cancel", &json!({ "recordId": "unknown" })).await;
    check(&unknown, 404, "No verification found", "not_found");
    let queries = [
        ("records?page=0", "page must be a whole number from 1"),
        ("records?limit=101", "limit must be a whole number from 1 to 100"),
        ("records?page=1001", "page times limit must be at most 10000: use cursor to go on"),
        ("records?verified=maybe", "verified must be true or false"),
        ("records?channel=pigeon", "channel must be one of sms, email, whatsapp"),
        ("records?cursor=x", "cursor must be the nextCursor of a reply"),
    ];
    for (query, message) in queries {
        check(&client.get(&format!("/api/v1/otp/{query}")).await, 400, message, "invalid_request");
    }
}

async fn a_refused_request_costs_nothing(client: Client) {
    client.send(&json!({ "channel": "email", "target": "nobody" })).await.expect(400);
    client.send_to("ann@example.com").await;
    client.send(&json!({ "channel": "email", "target": "ann@example.com" })).await.expect(429);
    let tokens = client.get("/api/v1/otp/token-info").await.expect(200).body;
    assert_eq!(tokens["tokensUsed"], 1);
    let records = client.get("/api/v1/otp/records").await.expect(200).body;
    assert_eq!(records["pagination"]["total"], 1);
}
