//! The webhook against a stub: what is posted and signed, what answers mean, which receipts are believed.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use wiremock::matchers::{any, header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, email, receipt, rendered, sms, tools};

const OLD: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn provider(url: &str) -> Arc<dyn Provider> {
    let settings = json!({"url": url, "secrets": [NEW, OLD], "channels": "sms,email"});
    configure(Settings::new("own", &settings), &tools()).expect("settings")
}

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::parse(&SecretString::from(*text)).expect("secret")).collect()
}

async fn posted(message: &Message) -> wiremock::Request {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({"message_id": "m1", "status": "sent"}));
    Mock::given(method("POST"))
        .and(path("/otp"))
        .and(header_exists("webhook-id"))
        .respond_with(answer)
        .expect(1)
        .mount(&server)
        .await;
    let handed = provider(&format!("{}/otp", server.uri())).send(message).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some("m1".to_owned()), delivered: false });
    server.received_requests().await.expect("requests").remove(0)
}

fn shown(mut request: wiremock::Request) -> String {
    let mut body: Value = request.body_json().expect("JSON");
    for changing in ["timestamp", "project"] {
        body[changing] = format!("({changing})").into();
    }
    request.body = serde_json::to_vec_pretty(&body).expect("JSON");
    rendered(&request)
}

#[tokio::test]
async fn a_message_is_posted_whole() {
    insta::assert_snapshot!(shown(posted(&email()).await), @r#"
    POST /otp
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "attempt": "01980283-4d40-7000-8000-00000000002a:1:1",
      "callback": "https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1",
      "channel": "email",
      "code": "482913",
      "expires_in": 299,
      "html": "<p>Your code is <b>482913</b></p>",
      "id": "01980283-4d40-7000-8000-00000000002a:1",
      "locale": "en",
      "project": "(project)",
      "subject": "Your code for shop",
      "target": "Ann@example.com",
      "text": "Your code is 482913",
      "timestamp": "(timestamp)",
      "type": "otp.send"
    }
    "#);
    let mut sms = sms();
    sms.callback = None;
    insta::assert_snapshot!(shown(posted(&sms).await), @r#"
    POST /otp
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "attempt": "01980283-4d40-7000-8000-00000000002a:1:1",
      "callback": null,
      "channel": "sms",
      "code": "482913",
      "expires_in": 299,
      "html": null,
      "id": "01980283-4d40-7000-8000-00000000002a:1",
      "locale": "en",
      "project": "(project)",
      "subject": null,
      "target": "+14155552671",
      "text": "Your code is 482913",
      "timestamp": "(timestamp)",
      "type": "otp.send"
    }
    "#);
}

#[tokio::test]
async fn it_is_signed_with_every_secret_under_an_id_that_stays() {
    let mut message = sms();
    message.attempt.n = 2;
    let request = posted(&message).await;
    let header = |name: &str| request.headers[name].to_str().expect("text").to_owned();
    let (id, timestamp, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    assert_eq!(id, message.attempt.dispatch.to_string());
    let signed = Signed { id: &id, timestamp: &timestamp, signature: &signature };
    for secret in [OLD, NEW] {
        assert!(standard_webhooks::verify(&secrets(&[secret]), signed, &request.body, Clock::default().now()).is_ok());
    }
}

async fn answered(status: u16, body: &str) -> Result<Handed, Failure> {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).insert_header("retry-after", "3").set_body_string(body);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    provider(&server.uri()).send(&sms()).await
}

async fn check(status: u16, class: Option<&str>, expected: Cause) {
    let body = class.map_or_else(|| "no".to_owned(), |class| json!({"error": {"class": class}}).to_string());
    let failed = answered(status, &body).await.expect_err("a failure");
    assert_eq!(failed.cause, expected, "{status} {class:?}");
}

#[tokio::test]
async fn refusals_have_their_causes() {
    use Misconfiguration::{Credentials, Endpoint};
    check(429, None, Cause::Throttled { retry_after: Some(Duration::from_secs(3)) }).await;
    check(429, Some("recipient"), Cause::Throttled { retry_after: Some(Duration::from_secs(3)) }).await;
    check(400, Some("recipient"), Cause::Rejected).await;
    check(404, Some("recipient"), Cause::Rejected).await;
    check(422, Some("provider"), Cause::Misconfigured(Endpoint)).await;
    check(409, Some("transient"), Cause::Unavailable).await;
    check(400, Some("weather"), Cause::Misconfigured(Endpoint)).await;
    check(400, None, Cause::Misconfigured(Endpoint)).await;
    check(401, None, Cause::Misconfigured(Credentials)).await;
    check(403, None, Cause::Misconfigured(Credentials)).await;
    check(404, None, Cause::Misconfigured(Endpoint)).await;
    check(410, None, Cause::Misconfigured(Endpoint)).await;
    check(307, None, Cause::Misconfigured(Endpoint)).await;
    check(500, Some("recipient"), Cause::Unavailable).await;
    check(503, None, Cause::Unavailable).await;
}

#[tokio::test]
async fn a_refusal_keeps_its_words_but_not_the_message() {
    let body = json!({"error": {"class": "recipient", "code": "blocked", "message": "+14155552671: 482913"}});
    let failed = answered(400, &body.to_string()).await.expect_err("a failure");
    assert_eq!(failed.detail, "400: blocked: ***: ***");
    let failed = answered(500, "got 482913").await.expect_err("a failure");
    assert_eq!(failed.detail, "500: got ***");
}

#[tokio::test]
async fn success_needs_no_body_and_says_no_by_status() {
    let unnamed = Handed { message_id: Some(ATTEMPT.to_owned()), delivered: false };
    assert_eq!(answered(204, "").await, Ok(unnamed.clone()));
    assert_eq!(answered(200, "thanks").await, Ok(unnamed));
    let delivered = Handed { message_id: Some("m".to_owned()), delivered: true };
    assert_eq!(answered(200, r#"{"message_id":"m","status":"delivered"}"#).await, Ok(delivered));
    assert_eq!(answered(200, r#"{"status":"failed"}"#).await.expect_err("failed").cause, Cause::Unavailable);
}

#[tokio::test]
async fn a_check_asks_whether_anything_answers() {
    let server = MockServer::start().await;
    assert_eq!(provider(&server.uri()).check().await.reachable, Some(true));
    assert_eq!(provider("http://127.0.0.1:9/").check().await.reachable, Some(false));
}

/// Hands a receipt over, signed with `secret` at `seconds` from now.
fn received(secret: &str, seconds: i64, body: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    received_by(&*provider("https://a.example/"), secret, seconds, body)
}

fn received_by(
    provider: &dyn Provider,
    secret: &str,
    seconds: i64,
    body: &str,
) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let now = Clock::default().now().as_ms() / 1000 + seconds;
    let signature = standard_webhooks::sign(&secrets(&[secret]), "r1", now, body.as_bytes());
    let headers =
        [("Webhook-Id", "r1".to_owned()), ("Webhook-Timestamp", now.to_string()), ("Webhook-Signature", signature)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    provider.receipts(&receipt("https://otp.example.com/receipts/own", &headers, body.as_bytes()))
}

#[test]
fn receipts_signed_with_any_secret_are_read() {
    let body = json!({"message_id": "m1", "status": "undelivered", "attempt": ATTEMPT, "detail": "482913 off"});
    let expected = ReceiptEvent {
        message_id: "m1".to_owned(),
        attempt: ATTEMPT.parse().ok(),
        status: ReceiptStatus::Undelivered,
        detail: Some("*** off".to_owned()),
    };
    for secret in [OLD, NEW] {
        assert_eq!(received(secret, 0, &body.to_string()), Ok(vec![expected.clone()]));
    }
    for (status, read) in [("sent", ReceiptStatus::Sent), ("delivered", ReceiptStatus::Delivered)] {
        let body = json!({"message_id": "m1", "status": status}).to_string();
        assert_eq!(received(NEW, 0, &body).expect("a receipt")[0].status, read);
    }
}

#[test]
fn other_receipts_are_not_believed() {
    let good = r#"{"message_id":"m1","status":"sent"}"#;
    assert_eq!(received("whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", 0, good), Err(BadReceipt::Forged));
    assert_eq!(received(NEW, -302, good), Err(BadReceipt::Forged));
    assert_eq!(received(NEW, 330, good), Err(BadReceipt::Forged));
    let unsigned = provider("https://a.example/").receipts(&receipt("https://otp.example.com/", &[], good.as_bytes()));
    assert_eq!(unsigned, Err(BadReceipt::Forged));
    for bad in [
        "",
        "{}",
        r#"{"message_id":"m1","status":"lost"}"#,
        r#"{"message_id":"","status":"sent"}"#,
        r#"{"message_id":"m1","status":"sent","attempt":"x"}"#,
    ] {
        assert_eq!(received(NEW, 0, bad), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[test]
fn the_url_does_not_show() {
    assert!(!format!("{:?}", provider("https://a.example/token")).contains("token"));
}

#[test]
fn no_receipt_makes_it_panic() {
    let provider = provider("https://a.example/");
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(body in bytes, text in "\\PC{0,100}")| {
        let _ = (event(&body), event(text.as_bytes()));
        let _ = received_by(&*provider, NEW, 0, &text);
    });
}
