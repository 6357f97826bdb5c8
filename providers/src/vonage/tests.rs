//! Vonage against a stub: what is sent, what its answers mean, and which receipts are believed.

use aws_lc_rs::hmac;
use proptest::prelude::*;
use wiremock::matchers::{basic_auth, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{
    ATTEMPT, RETRY_AFTER, answering, assert_ill, receipt, received_json, reply, sms, tools, whatsapp, with,
};

const SIGNATURE_SECRET: &str = "sigsecret";

fn provider(more: Value) -> Arc<dyn Provider> {
    let settings = json!({"api_key": "abcd1234", "api_secret": "s3cr3t", "signature_secret": SIGNATURE_SECRET,
                          "from": "+447700900001", "whatsapp_from": "447700900002"});
    configure(Settings::new("vonage", &with(settings, more)), &tools()).expect("settings")
}

fn at(server: &MockServer) -> Arc<dyn Provider> {
    provider(json!({"base_url": server.uri(), "account_url": server.uri()}))
}

async fn sent(more: Value, message: &Message) -> String {
    let server = answering(202, json!({"message_uuid": "aaaa-bbbb"})).await;
    let handed = provider(with(more, json!({"base_url": server.uri()}))).send(message).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some("aaaa-bbbb".to_owned()), delivered: false });
    received_json(&server).await
}

#[tokio::test]
async fn an_sms_lives_as_long_as_its_code() {
    insta::assert_snapshot!(sent(json!({}), &sms()).await, @r#"
    POST /v1/messages
    authorization: Basic YWJjZDEyMzQ6czNjcjN0
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "channel": "sms",
      "client_ref": "019802834d407000800000000000002a:1:1",
      "from": "447700900001",
      "message_type": "text",
      "text": "Your code is 482913",
      "to": "14155552671",
      "ttl": 299,
      "webhook_url": "https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1",
      "webhook_version": "v1"
    }
    "#);
}

#[tokio::test]
async fn whatsapp_goes_by_authentication_template_where_one_is_set() {
    let settings = json!({"whatsapp_template": "login_code", "whatsapp_language": "en_GB"});
    insta::assert_snapshot!(sent(settings, &whatsapp()).await, @r#"
    POST /v1/messages
    authorization: Basic YWJjZDEyMzQ6czNjcjN0
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "channel": "whatsapp",
      "client_ref": "019802834d407000800000000000002a:1:1",
      "custom": {
        "template": {
          "components": [
            {
              "parameters": [
                {
                  "text": "482913",
                  "type": "text"
                }
              ],
              "type": "body"
            },
            {
              "index": "0",
              "parameters": [
                {
                  "text": "482913",
                  "type": "text"
                }
              ],
              "sub_type": "url",
              "type": "button"
            }
          ],
          "language": {
            "code": "en_GB",
            "policy": "deterministic"
          },
          "name": "login_code"
        },
        "type": "template"
      },
      "from": "447700900002",
      "message_type": "custom",
      "to": "14155552671",
      "webhook_url": "https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1",
      "webhook_version": "v1"
    }
    "#);
    let plain = sent(json!({}), &whatsapp()).await;
    assert!(plain.contains(r#""text": "Your code is 482913""#) && !plain.contains("ttl"), "{plain}");
}

#[test]
fn an_attempt_fits_into_the_clients_reference_however_late_it_is() {
    let mut attempt = sms().attempt;
    (attempt.dispatch.n, attempt.n) = (99, 999);
    let reference = reference(attempt);
    assert!(reference.len() <= 40, "{reference}");
    assert_eq!(reference.parse().ok(), Some(attempt));
}

#[tokio::test]
async fn no_receipts_are_asked_for_that_could_not_be_checked() {
    let plain = sent(json!({"signature_secret": ""}), &sms()).await;
    assert!(!plain.contains("webhook_url"), "{plain}");
}

#[track_caller]
fn check(status: u16, code: &str, expected: &Cause) {
    let kind = format!("https://developer.vonage.com/api-errors/messages#{code}");
    let body = json!({"type": kind, "title": "t", "detail": "d", "instance": "i"});
    assert_eq!(&read(&reply(status, &body)).expect_err("a failure").0, expected, "{status} {code}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    for (status, code) in [(402, "low-balance"), (402, ""), (422, "1070"), (403, "out-of-credit")] {
        check(status, code, &Cause::Misconfigured(Balance));
    }
    for (status, code) in [
        (401, "unauthorized"),
        (401, "unprovisioned"),
        (401, ""),
        (403, "forbidden"),
        (403, "account-suspended"),
        (422, "1060"),
        (422, "1080"),
    ] {
        check(status, code, &Cause::Misconfigured(Credentials));
    }
    for code in ["1022", "1120", "1140", "1160", "1210", "1340", "1420"] {
        check(422, code, &Cause::Misconfigured(Sender));
    }
    for code in ["110", "1050", "1170", "1190", "1200", "1240", "1241", "1250", "1270", "1280", "1290", "1300", "1310"]
    {
        check(422, code, &Cause::Rejected);
    }
    check(422, "1430", &Cause::Rejected);
    for (status, code) in [(429, "1000"), (422, "1000"), (429, ""), (429, "throttled")] {
        check(status, code, &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    }
    for code in ["1030", "1040", "1100", "1180", "1220", "1230", "1260", "1330", "1331"] {
        check(422, code, &Cause::Unavailable);
    }
    for (status, code) in [(500, "1000"), (503, "")] {
        check(status, code, &Cause::Unavailable);
    }
    for (status, code) in [(422, "1010"), (422, "1020"), (400, "invalid-json"), (404, "not-found"), (302, "")] {
        check(status, code, &Cause::Misconfigured(Endpoint));
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_words_but_not_the_message() {
    let body = json!({"type": "https://x/#1430", "title": "Invalid recipient", "detail": "14155552671 got 482913"});
    let failed = at(&answering(422, body).await).send(&sms()).await.expect_err("rejected");
    let detail = "422: 1430: Invalid recipient: *** got ***".to_owned();
    assert_eq!(failed, Failure { cause: Cause::Rejected, detail });
}

#[test]
fn only_a_message_is_success() {
    let endpoint = Cause::Misconfigured(Misconfiguration::Endpoint);
    assert_eq!(read(&Reply { whole: false, ..reply(202, "{\"mess") }), Ok(Handed::default()));
    for body in ["{}", "<html>", r#"{"message_uuid": ""}"#] {
        assert_eq!(read(&reply(200, body)).expect_err("no message").0, endpoint, "{body}");
    }
}

#[tokio::test]
async fn a_channel_without_a_sender_is_refused_before_anything_leaves() {
    let failed = provider(json!({"whatsapp_from": ""})).send(&whatsapp()).await.expect_err("no sender");
    assert_eq!(failed.cause, Cause::Misconfigured(Misconfiguration::Sender));
}

async fn checked(status: u16, body: Value) -> Check {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/account/get-balance"))
        .and(basic_auth("abcd1234", "s3cr3t"))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    at(&server).check().await
}

#[tokio::test]
async fn a_check_tells_credentials_and_money_apart() {
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let rich = checked(200, json!({"value": 10.17, "autoReload": false})).await;
    assert_eq!(rich, Check { balance: Some("10.17 EUR".to_owned()), ..fine });
    let poor = checked(200, json!({"value": -0.5, "autoReload": false})).await;
    assert_eq!(poor.problem.expect("problem").0, Misconfiguration::Balance);
    assert_eq!(checked(200, json!({"value": 0, "autoReload": true})).await.problem, None);
    let stranger = checked(401, json!({"error-code": "401"})).await;
    assert_eq!(stranger.credentials, Some(false));
    assert_eq!(stranger.problem.expect("problem").0, Misconfiguration::Credentials);
    let ill = checked(503, json!({})).await;
    assert_ill(ill);
    let away = provider(json!({"account_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

const VECTOR_BODY: &str = r#"{"message_uuid":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab","status":"delivered"}"#;
const VECTOR: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MDAwMDAwMDAsImp0aSI6IngiLCJpc3MiOiJWb25hZ2UiLCJ\
                      wYXlsb2FkX2hhc2giOiIzMjEzOGI2NDc1YzRjNGI1NWIyNGI1NjIwZTkyY2RjZjMyNmQ0NGQ3MmY1YzQyNTM1ZTBkMmU4NjVh\
                      ZjViNWM3IiwiYXBpX2tleSI6ImFiY2QxMjM0IiwiYXBwbGljYXRpb25faWQiOiJhcHAifQ.ehg19jYrpON4aNxeYmrStTa18V\
                      17bDF6oBt9I3Dlp7c";
const VECTOR_AT_S: i64 = 1_700_000_000;

fn is_signed(secret: &str, token: &str, body: &str, seconds: i64) -> bool {
    let now = Timestamp::from_ms((VECTOR_AT_S + seconds) * 1000);
    signed(&SecretString::from(secret), token, body.as_bytes(), now).is_some()
}

#[test]
fn a_signature_is_of_one_body_and_of_now() {
    assert!(is_signed(SIGNATURE_SECRET, VECTOR, VECTOR_BODY, 0));
    assert!(
        is_signed(SIGNATURE_SECRET, VECTOR, VECTOR_BODY, 300) && is_signed(SIGNATURE_SECRET, VECTOR, VECTOR_BODY, -300)
    );
    assert!(
        !is_signed(SIGNATURE_SECRET, VECTOR, VECTOR_BODY, 301)
            && !is_signed(SIGNATURE_SECRET, VECTOR, VECTOR_BODY, -301)
    );
    assert!(!is_signed("another", VECTOR, VECTOR_BODY, 0));
    assert!(!is_signed(SIGNATURE_SECRET, VECTOR, &VECTOR_BODY.replace("delivered", "rejected"), 0));
    let (unsigned, _) = VECTOR.rsplit_once('.').expect("three parts");
    assert!(!is_signed(SIGNATURE_SECRET, unsigned, VECTOR_BODY, 0));
    assert!(!is_signed(SIGNATURE_SECRET, &format!("{unsigned}."), VECTOR_BODY, 0));
}

/// A JWT as Vonage makes it.
fn token(alg: &str, body: &str) -> String {
    let hash = encode_hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref());
    let iat = Clock::default().now().as_ms() / 1000;
    let parts = [json!({"alg": alg, "typ": "JWT"}), json!({"iat": iat, "iss": "Vonage", "payload_hash": hash})];
    let text = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SIGNATURE_SECRET.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes())))
}

fn received(token: &str, body: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    received_by(&*provider(json!({})), token, body)
}

fn received_by(provider: &dyn Provider, token: &str, body: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let headers = [("Authorization".to_owned(), format!("Bearer {token}"))];
    let url = format!("https://otp.example.com/receipts/vonage?attempt={ATTEMPT}");
    provider.receipts(&receipt(&url, &headers, body.as_bytes()))
}

fn received_json_of(body: &Value) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let body = body.to_string();
    received(&token("HS256", &body), &body)
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (status, expected) in [
        ("submitted", Some(Sent)),
        ("delivered", Some(Delivered)),
        ("read", Some(Delivered)),
        ("rejected", Some(Undelivered)),
        ("undeliverable", Some(Undelivered)),
        ("anything new", None),
    ] {
        let events = received_json_of(&json!({"message_uuid": "m1", "status": status})).expect("a receipt");
        assert_eq!(events.first().map(|event| event.status), expected, "{status}");
    }
    let other = ATTEMPT.replace(":1:1", ":2:3");
    let body = json!({"message_uuid": "m1", "to": "14155552671", "status": "rejected", "client_ref": other,
                      "error": {"title": 1241, "detail": "no such number"}});
    let expected = ReceiptEvent {
        message_id: "m1".to_owned(),
        attempt: other.parse().ok(),
        status: Undelivered,
        detail: Some("1241".to_owned()),
    };
    assert_eq!(received_json_of(&body), Ok(vec![expected]));
    let plain = received_json_of(&json!({"message_uuid": "m1", "status": "read", "error": {"title": "482913"}}));
    let plain = plain.expect("a receipt").remove(0);
    assert_eq!((plain.attempt, plain.detail), (ATTEMPT.parse().ok(), None));
}

#[test]
fn other_receipts_are_not_believed() {
    let good = r#"{"message_uuid":"m1","status":"delivered"}"#;
    assert!(received(&token("HS256", good), good).is_ok());
    for bad in [token("RS256", good), token("none", good), token("HS256", "{}"), "a.b.c".to_owned(), String::new()] {
        assert_eq!(received(&bad, good), Err(BadReceipt::Forged), "{bad}");
    }
    let bare = receipt("https://otp.example.com/receipts/vonage", &[], good.as_bytes());
    assert_eq!(provider(json!({})).receipts(&bare), Err(BadReceipt::Forged));
    let silent = provider(json!({"signature_secret": ""}));
    assert_eq!((silent.receipts(&bare), silent.has_receipts()), (Err(BadReceipt::NotSupported), false));
    for bad in ["", "{}", "[]", r#"{"message_uuid":"","status":"delivered"}"#, r#"{"message_uuid":1,"status":2}"#] {
        assert_eq!(received(&token("HS256", bad), bad), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}", provider(json!({})));
    assert!(!shown.contains("s3cr3t") && !shown.contains(SIGNATURE_SECRET), "{shown}");
}

#[test]
fn no_body_makes_it_panic() {
    let provider = provider(json!({}));
    let received = |token: &str, body: &str| received_by(&*provider, token, body);
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(status in 100_u16..600, body in bytes, text in "\\PC{0,100}", jwt in "[A-Za-z0-9_.-]{0,80}")| {
        let _ = read(&Reply { body, ..reply(status, "") });
        let _ = (received(&jwt, &text), received(&text, &text), received(&token("HS256", &text), &text));
    });
}
