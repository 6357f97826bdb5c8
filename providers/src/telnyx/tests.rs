//! Telnyx against a stub: what is sent, what its answers mean, and which receipts are believed.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use proptest::prelude::*;
use serde_json::json;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, RETRY_AFTER, answering, receipt, received_json, reply, sms, tools, with};

/// Whoever has it can sign as Telnyx.
const SEED: [u8; 32] = [7; 32];

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key")
}

fn provider(more: Value) -> Arc<dyn Provider> {
    let public_key = BASE64_STANDARD.encode(pair().public_key().as_ref());
    let settings = json!({"api_key": "KEY0123", "from": "+15005550006", "public_key": public_key});
    configure(Settings::new("telnyx", &with(settings, more)), &tools()).expect("settings")
}

fn at(server: &MockServer) -> Arc<dyn Provider> {
    provider(json!({"base_url": server.uri()}))
}

fn taken(status: &str, errors: &Value) -> Value {
    json!({"data": {"id": "m1", "to": [{"phone_number": "+14155552671", "status": status}], "errors": errors}})
}

async fn sent(more: Value) -> String {
    let server = answering(200, taken("queued", &json!([]))).await;
    let handed = provider(with(more, json!({"base_url": server.uri()}))).send(&sms()).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some("m1".to_owned()), delivered: false });
    received_json(&server).await
}

#[tokio::test]
async fn an_sms_carries_its_own_callback() {
    insta::assert_snapshot!(sent(json!({})).await, @r#"
    POST /v2/messages
    authorization: Bearer KEY0123
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "from": "+15005550006",
      "text": "Your code is 482913",
      "to": "+14155552671",
      "type": "SMS",
      "use_profile_webhooks": false,
      "webhook_url": "https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1"
    }
    "#);
}

#[tokio::test]
async fn a_profile_may_choose_the_number() {
    insta::assert_snapshot!(sent(json!({"from": "", "messaging_profile_id": "p1", "public_key": ""})).await, @r#"
    POST /v2/messages
    authorization: Bearer KEY0123
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "messaging_profile_id": "p1",
      "text": "Your code is 482913",
      "to": "+14155552671",
      "type": "SMS"
    }
    "#);
}

#[test]
fn a_name_needs_a_profile_and_a_key_its_length() {
    let settings = json!({"api_key": "KEY0123", "from": "Shop", "public_key": "c2hvcnQ="});
    let problems = configure(Settings::new("telnyx", &settings), &tools()).expect_err("problems").join("\n");
    assert!(problems.contains("telnyx.from: ") && problems.contains("telnyx.public_key: "), "{problems}");
}

#[track_caller]
fn check(status: u16, code: u64, expected: &Cause) {
    let error = json!([{"code": code.to_string(), "title": "t", "detail": "d"}]);
    assert_eq!(&read(&reply(status, &json!({"errors": error}))).expect_err("a failure").0, expected, "{status} {code}");
    let at_once = taken("sending_failed", &error);
    if status == 400 {
        assert_eq!(&read(&reply(200, &at_once)).expect_err("a failure").0, expected, "{code} at once");
    }
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    for (status, code) in [(401, 10009), (403, 10010), (401, 0), (403, 0), (400, 10009)] {
        check(status, code, &Cause::Misconfigured(Credentials));
    }
    for (status, code) in [(400, 20100), (403, 20100), (402, 0)] {
        check(status, code, &Cause::Misconfigured(Balance));
    }
    for code in [10001, 40003, 40009, 40010, 40013, 40015, 40100, 40305, 40306, 40333] {
        check(400, code, &Cause::Misconfigured(Sender));
    }
    for code in [10002, 10016, 40001, 40012, 40300, 40310] {
        check(400, code, &Cause::Rejected);
    }
    for (status, code) in [(429, 10011), (429, 0), (400, 40011), (400, 40318)] {
        check(status, code, &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    }
    for code in [10007, 10008, 40002, 40004, 40005, 40006, 40008, 40014] {
        check(400, code, &Cause::Unavailable);
    }
    for (status, code) in [(500, 10007), (503, 0)] {
        check(status, code, &Cause::Unavailable);
    }
    for (status, code) in [(400, 10015), (404, 10005), (422, 99999), (302, 0)] {
        check(status, code, &Cause::Misconfigured(Endpoint));
    }
}

#[test]
fn a_bad_number_may_be_ours() {
    let body = json!({"errors": [{"code": "10016", "title": "t", "source": {"pointer": "/from"}}]});
    assert_eq!(read(&reply(422, &body)).expect_err("ours").0, Cause::Misconfigured(Misconfiguration::Sender));
    let body = json!({"errors": [{"code": "10016", "title": "t", "source": {"pointer": "/to"}}]});
    assert_eq!(read(&reply(422, &body)).expect_err("theirs").0, Cause::Rejected);
}

#[tokio::test]
async fn a_refusal_keeps_its_words_but_not_the_message() {
    let error = json!({"code": "40310", "title": "Invalid 'to' address", "detail": "+14155552671 cannot get 482913"});
    let failed = at(&answering(400, json!({"errors": [error]})).await).send(&sms()).await;
    let detail = "400 40310: Invalid 'to' address: *** cannot get ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
}

#[test]
fn only_a_message_is_success() {
    let endpoint = Cause::Misconfigured(Misconfiguration::Endpoint);
    assert_eq!(read(&Reply { whole: false, ..reply(200, "{\"data") }), Ok(Handed::default()));
    for body in ["<html>", "{}", r#"{"data": {}}"#, r#"{"data": {"id": ""}}"#] {
        assert_eq!(read(&reply(200, body)).expect_err("no message").0, endpoint, "{body}");
    }
}

async fn checked(status: u16, body: Value) -> Check {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/v2/balance"))
        .and(header("authorization", "Bearer KEY0123"))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    at(&server).check().await
}

#[tokio::test]
async fn a_check_tells_credentials_and_money_apart() {
    let money = |credit: &str| json!({"data": {"balance": "-5.00", "available_credit": credit, "currency": "USD"}});
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let rich = checked(200, money("95.00")).await;
    assert_eq!(rich, Check { balance: Some("95.00 USD".to_owned()), ..fine });
    assert_eq!(checked(200, money("0.00")).await.problem.expect("problem").0, Misconfiguration::Balance);
    let stranger = checked(401, json!({"errors": [{"code": "10009", "title": "Authentication failed"}]})).await;
    assert_eq!(stranger.credentials, Some(false));
    assert_eq!(stranger.problem.expect("problem").0, Misconfiguration::Credentials);
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

const VECTOR_KEY: &str = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
const VECTOR_TIMESTAMP: &str = "1700000000";
const VECTOR_BODY: &[u8] = br#"{"data":{"event_type":"message.finalized"}}"#;
const VECTOR: &str = "LhN3MIGk9cmb3dnYnff5iMTHrW35qZFb7JZ12PHvgI0YnPxwMnMdtxhqDg6tu14XL6YM3QpsXZORwlzAJqAxCA==";

fn is_signed(timestamp: &str, signature: &str, body: &[u8], seconds: i64) -> bool {
    let key = BASE64_STANDARD.decode(VECTOR_KEY).expect("base64").try_into().expect("32 bytes");
    let now = Timestamp::from_ms((1_700_000_000 + seconds) * 1000);
    signed(&key, timestamp, signature, body, now).is_some()
}

#[test]
fn a_signature_is_of_one_body_and_of_now() {
    assert!(is_signed(VECTOR_TIMESTAMP, VECTOR, VECTOR_BODY, 0));
    assert!(is_signed(VECTOR_TIMESTAMP, VECTOR, VECTOR_BODY, 300));
    assert!(is_signed(VECTOR_TIMESTAMP, VECTOR, VECTOR_BODY, -300));
    assert!(!is_signed(VECTOR_TIMESTAMP, VECTOR, VECTOR_BODY, 301));
    assert!(!is_signed(VECTOR_TIMESTAMP, VECTOR, VECTOR_BODY, -301));
    assert!(!is_signed("1700000001", VECTOR, VECTOR_BODY, 0));
    assert!(!is_signed(VECTOR_TIMESTAMP, VECTOR, &VECTOR_BODY[1..], 0));
    assert!(!is_signed(VECTOR_TIMESTAMP, &VECTOR.replace('L', "M"), VECTOR_BODY, 0));
    assert!(!is_signed("", "", VECTOR_BODY, 0));
}

fn received_by(provider: &dyn Provider, body: &[u8]) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let now = (Clock::default().now().as_ms() / 1000).to_string();
    let signature = pair().sign(&[now.as_bytes(), b"|", body].concat());
    let headers = [("Telnyx-Timestamp", now), ("Telnyx-Signature-Ed25519", BASE64_STANDARD.encode(signature))];
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    let url = format!("https://otp.example.com/receipts/telnyx?attempt={ATTEMPT}");
    provider.receipts(&receipt(&url, &headers, body))
}

fn received(body: &Value) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    received_by(&*provider(json!({})), body.to_string().as_bytes())
}

fn event(kind: &str, status: &str, errors: &Value) -> Value {
    let payload = &taken(status, errors)["data"];
    json!({"data": {"event_type": kind, "id": "e1", "record_type": "event", "payload": payload}, "meta": {"attempt": 1}})
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (status, expected) in [
        ("queued", None),
        ("sending", Some(Sent)),
        ("sent", Some(Sent)),
        ("delivered", Some(Delivered)),
        ("delivery_unconfirmed", Some(Sent)),
        ("expired", Some(Undelivered)),
        ("sending_failed", Some(Undelivered)),
        ("delivery_failed", Some(Undelivered)),
        ("anything_new", None),
    ] {
        let events = received(&event("message.finalized", status, &json!([]))).expect("a receipt");
        assert_eq!(events.first().map(|event| event.status), expected, "{status}");
    }
    let errors = json!([{"code": "40001", "title": "Not routable", "detail": "+14155552671"}]);
    let expected = ReceiptEvent {
        message_id: "m1".to_owned(),
        attempt: ATTEMPT.parse().ok(),
        status: Undelivered,
        detail: Some("40001".to_owned()),
    };
    assert_eq!(received(&event("message.finalized", "delivery_failed", &errors)), Ok(vec![expected]));
    assert_eq!(received(&event("message.received", "delivered", &json!([]))), Ok(Vec::new()));
}

#[test]
fn other_receipts_are_not_believed() {
    let good = event("message.sent", "sent", &json!([])).to_string();
    let bare = receipt("https://otp.example.com/receipts/telnyx", &[], good.as_bytes());
    assert_eq!(provider(json!({})).receipts(&bare), Err(BadReceipt::Forged));
    let other = provider(json!({"public_key": VECTOR_KEY}));
    assert_eq!(received_by(&*other, good.as_bytes()), Err(BadReceipt::Forged));
    let silent = provider(json!({"public_key": ""}));
    assert_eq!(received_by(&*silent, good.as_bytes()), Err(BadReceipt::NotSupported));
    assert!(other.has_receipts() && !silent.has_receipts());
    let malformed = [json!({}), json!([]), json!({"data": {"event_type": "message.sent"}}), json!("x"), Value::Null];
    for bad in malformed {
        assert_eq!(received(&bad), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[test]
fn secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("KEY0123"));
}

#[test]
fn no_body_makes_it_panic() {
    let provider = provider(json!({}));
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(status in 100_u16..600, body in bytes, text in "\\PC{0,100}")| {
        let _ = received_by(&*provider, &body);
        let errors = json!([{"code": text, "title": text}]);
        let _ = received_by(&*provider, event("message.sent", &text, &errors).to_string().as_bytes());
        let _ = read(&reply(status, &taken(&text, &errors)));
        let _ = read(&Reply { body, ..reply(status, "") });
        let _ = (is_signed(&text, VECTOR, b"", 0), is_signed(VECTOR_TIMESTAMP, &text, b"", 0));
    });
}
