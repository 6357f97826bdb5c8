//! Resend against a stub: what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use wiremock::matchers::{any, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{
    ATTEMPT as ATTEMPT_ID, RETRY_AFTER, assert_ill, email, receipt, received_json, reply, tools, with,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn provider(extra: Value) -> Arc<dyn Provider> {
    let settings = json!({"api_key": "re_hunter2", "from": "Shop <otp@shop.example>", "webhook_secret": SECRET});
    configure(Settings::new("resend", &with(settings, extra)), &tools()).expect("settings")
}

async fn answering(status: u16, body: Value) -> (MockServer, Arc<dyn Provider>) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).insert_header("retry-after", "2").set_body_json(body);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let provider = provider(json!({"base_url": server.uri()}));
    (server, provider)
}

#[tokio::test]
async fn an_email_is_one_json_body_under_a_key_of_its_attempt() {
    let (server, provider) = answering(200, json!({"id": "49a3999c"})).await;
    let handed = provider.send(&email()).await;
    assert_eq!(handed, Ok(Handed { message_id: Some("49a3999c".to_owned()), delivered: false }));
    assert_eq!(server.received_requests().await.expect("requests")[0].headers["idempotency-key"], ATTEMPT_ID);
    insta::assert_snapshot!(received_json(&server).await, @r#"
    POST /emails
    authorization: Bearer re_hunter2
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "from": "Shop <otp@shop.example>",
      "headers": {
        "Auto-Submitted": "auto-generated"
      },
      "html": "<p>Your code is <b>482913</b></p>",
      "subject": "Your code for shop",
      "tags": [
        {
          "name": "otpd_attempt",
          "value": "01980283-4d40-7000-8000-00000000002a_1_1"
        }
      ],
      "text": "Your code is 482913",
      "to": [
        "Ann@example.com"
      ]
    }
    "#);
}

#[track_caller]
fn check(status: u16, name: &str, said: &str, expected: &Cause) {
    let body = json!({"statusCode": status, "name": name, "message": said});
    assert_eq!(&read(&reply(status, &body)).expect_err("a failure").0, expected, "{status} {name} {said}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    let misconfigured = Cause::Misconfigured;
    let throttled = Cause::Throttled { retry_after: Some(RETRY_AFTER) };
    check(401, "missing_api_key", "Missing API key", &misconfigured(Credentials));
    check(403, "invalid_api_key", "API key is invalid", &misconfigured(Credentials));
    check(400, "invalid_api_key", "API key is invalid", &misconfigured(Credentials));
    check(401, "restricted_api_key", "Only to send", &misconfigured(Credentials));
    check(403, "anything", "", &misconfigured(Credentials));
    check(429, "daily_quota_exceeded", "", &misconfigured(Balance));
    check(429, "monthly_quota_exceeded", "", &misconfigured(Balance));
    check(429, "rate_limit_exceeded", "", &throttled);
    check(429, "", "", &throttled);
    check(409, "invalid_idempotent_request", "", &Cause::Ambiguous);
    check(409, "concurrent_idempotent_requests", "", &Cause::Ambiguous);
    check(500, "application_error", "", &Cause::Unavailable);
    check(500, "internal_server_error", "", &Cause::Unavailable);
    check(503, "", "", &Cause::Unavailable);
    check(403, "validation_error", "The shop.example domain is not verified.", &misconfigured(Sender));
    check(403, "validation_error", "You can only send testing emails to your own address", &misconfigured(Sender));
    check(422, "invalid_from_address", "", &misconfigured(Sender));
    check(422, "validation_error", "Invalid `from` field.", &misconfigured(Sender));
    check(451, "security_error", "", &misconfigured(Sender));
    check(422, "validation_error", "Invalid `to` field.", &Cause::Rejected);
    check(400, "validation_error", "Invalid `to` field.", &Cause::Rejected);
    check(422, "validation_error", "Invalid `subject` field.", &misconfigured(Endpoint));
    check(422, "missing_required_field", "", &misconfigured(Endpoint));
    check(400, "invalid_idempotency_key", "", &misconfigured(Endpoint));
    check(404, "not_found", "", &misconfigured(Endpoint));
    check(405, "method_not_allowed", "", &misconfigured(Endpoint));
    check(302, "", "", &misconfigured(Endpoint));
}

#[tokio::test]
async fn only_a_message_is_success_and_words_quote_nothing() {
    let said =
        json!({"statusCode": 422, "name": "validation_error", "message": "Invalid `to` field: ann@example.com 482913"});
    let failed = answering(422, said).await.1.send(&email()).await;
    let detail = "422: validation_error: Invalid `to` field: *** ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
    let nothing = answering(200, json!({})).await.1.send(&email()).await.expect_err("no message");
    assert_eq!(nothing.cause, Cause::Misconfigured(Misconfiguration::Endpoint));
    let cut = Reply { status: 200, retry_after: None, body: b"{\"id\": \"4".to_vec(), whole: false };
    assert_eq!(read(&cut), Ok(Handed::default()));
}

async fn checked(status: u16, body: Value) -> Check {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/domains"))
        .and(header("authorization", "Bearer re_hunter2"))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    provider(json!({"base_url": server.uri()})).check().await
}

#[tokio::test]
async fn a_check_tells_the_key_and_the_domain_apart() {
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let domains = |name: &str, status: &str| json!({"data": [{"name": name, "status": status}], "has_more": false});
    let verified = Check { sender: Some("shop.example verified".to_owned()), ..fine.clone() };
    assert_eq!(checked(200, domains("shop.example", "verified")).await, verified);
    assert_eq!(checked(401, json!({"name": "restricted_api_key", "message": "only send"})).await, fine);
    for other in [domains("shop.example", "pending"), domains("other.example", "verified")] {
        let check = checked(200, other).await;
        assert_eq!((check.credentials, check.problem.expect("problem").0), (Some(true), Misconfiguration::Sender));
    }
    assert_eq!(checked(200, json!({"data": [], "has_more": true})).await, fine);
    let refused = checked(403, json!({"name": "invalid_api_key", "message": "API key is invalid"})).await;
    assert_eq!(refused.credentials, Some(false));
    assert_ill(checked(503, json!({})).await);
    assert_eq!(provider(json!({"base_url": "http://127.0.0.1:9"})).check().await.reachable, Some(false));
}

/// Hands a body over as the vendor would, signed with `secret` `seconds` from now.
fn received(secret: &str, seconds: i64, body: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let secrets = [Secret::parse(&SecretString::from(secret)).expect("a secret")];
    let at = Clock::default().now().as_ms() / 1000 + seconds;
    let signature = standard_webhooks::sign(&secrets, "msg_1", at, body.as_bytes());
    let headers = [("svix-id", "msg_1".to_owned()), ("svix-timestamp", at.to_string()), ("svix-signature", signature)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    provider(json!({})).receipts(&receipt("https://otp.example.com/receipts/resend", &headers, body.as_bytes()))
}

#[test]
fn events_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (event, expected) in [
        ("email.sent", Some(Sent)),
        ("email.delivery_delayed", Some(Sent)),
        ("email.delivered", Some(Delivered)),
        ("email.opened", Some(Delivered)),
        ("email.clicked", Some(Delivered)),
        ("email.complained", Some(Delivered)),
        ("email.bounced", Some(Undelivered)),
        ("email.failed", Some(Undelivered)),
        ("email.suppressed", Some(Undelivered)),
        ("email.scheduled", None),
        ("contact.created", None),
    ] {
        let body = json!({"type": event, "data": {"email_id": "e1"}}).to_string();
        let events = received(SECRET, 0, &body).expect("receipts");
        assert_eq!(events.first().map(|event| event.status), expected, "{event}");
    }
    let expected = ReceiptEvent {
        message_id: "e1".to_owned(),
        attempt: ATTEMPT_ID.parse().ok(),
        status: Undelivered,
        detail: Some("No *** here, *** says".to_owned()),
    };
    let bounce = json!({"type": "Permanent", "subType": "General", "message": "No ann@example.com here, 482913 says"});
    let tag = ATTEMPT_ID.replace(':', "_");
    for tags in
        [json!({"otpd_attempt": tag}), json!([{"name": "x", "value": "y"}, {"name": "otpd_attempt", "value": tag}])]
    {
        let data = json!({"email_id": "e1", "tags": tags, "bounce": bounce});
        let body = json!({"type": "email.bounced", "data": data}).to_string();
        assert_eq!(received(SECRET, 0, &body), Ok(vec![expected.clone()]));
    }
}

#[test]
fn other_receipts_are_not_believed() {
    let good = r#"{"type": "email.sent", "data": {"email_id": "e1"}}"#;
    assert_eq!(received("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0, good), Err(BadReceipt::Forged));
    assert_eq!(
        (received(SECRET, -302, good), received(SECRET, 330, good)),
        (Err(BadReceipt::Forged), Err(BadReceipt::Forged))
    );
    for bad in ["", "{}", "[]", r#"{"type": "email.sent", "data": {}}"#] {
        assert_eq!(received(SECRET, 0, bad), Err(BadReceipt::Malformed), "{bad}");
    }
    let unsigned = receipt("https://otp.example.com/", &[], good.as_bytes());
    assert_eq!(provider(json!({})).receipts(&unsigned), Err(BadReceipt::Forged));
    let without_secret = provider(json!({"webhook_secret": ""}));
    assert_eq!(without_secret.receipts(&unsigned), Err(BadReceipt::NotSupported));
    assert!(!without_secret.has_receipts());
}

#[test]
fn settings_are_checked_and_secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("hunter2"));
    let settings = json!({"from": "", "webhook_secret": "hunter2"});
    let problems = configure(Settings::new("resend", &settings), &tools()).expect_err("problems").join("\n");
    insta::assert_snapshot!(problems, @"
    providers.resend.api_key: set it (RESEND_API_KEY) to a key that may send
    providers.resend.from: set it (RESEND_FROM) to the address that messages come from
    providers.resend.webhook_secret: must be the webhook's signing secret, which begins with whsec_
    ");
}

#[test]
fn no_receipt_makes_it_panic() {
    proptest!(|(text in "\\PC{0,60}", kind in "email.[a-z]{0,10}", tags in "\\PC{0,20}")| {
        let _ = received(SECRET, 0, &text);
        let data = json!({"email_id": text, "tags": [tags, {"name": tags}], "bounce": text, "failed": {"reason": text}});
        let _ = received(SECRET, 0, &json!({"type": kind, "data": data}).to_string());
    });
}
