//! Play Mobile against a stub: what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use wiremock::matchers::{basic_auth, body_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, RETRY_AFTER, assert_ill, receipt, received_json, reply, sms, sms_to, tools, with};

const SECRET: &str = "0123456789abcdef";
const REFERENCE: &str = "019802834d407000800000000000002a-1-1";

fn provider(more: Value) -> Arc<dyn Provider> {
    let settings = json!({"username": "shop", "password": "p4ss", "receipt_secret": SECRET});
    configure(Settings::new("playmobile", &with(settings, more)), &tools()).expect("settings")
}

fn uzbek() -> Message {
    sms_to("+998901234567")
}

async fn answering_text(status: u16, text: &str) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).set_body_string(text);
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

async fn sent(more: Value) -> String {
    let server = answering_text(200, "Request is received").await;
    let handed = provider(with(more, json!({"base_url": server.uri()}))).send(&uzbek()).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some(REFERENCE.to_owned()), delivered: false });
    received_json(&server).await
}

#[tokio::test]
async fn an_sms_lives_as_long_as_its_code_under_our_name() {
    insta::assert_snapshot!(sent(json!({})).await, @r#"
    POST /broker-api/send
    content-type: application/json; charset=UTF-8
    authorization: Basic c2hvcDpwNHNz
    accept: */*
    user-agent: otpd/0.1.0

    {
      "messages": [
        {
          "message-id": "019802834d407000800000000000002a-1-1",
          "recipient": "998901234567",
          "sms": {
            "content": {
              "text": "Your code is 482913"
            },
            "originator": "3700",
            "ttl": "299"
          }
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn what_comes_with_the_contract_can_be_set() {
    let settings = json!({"originator": "Shop", "path": "/v2/send", "priority": "realtime"});
    insta::assert_snapshot!(sent(settings).await, @r#"
    POST /v2/send
    content-type: application/json; charset=UTF-8
    authorization: Basic c2hvcDpwNHNz
    accept: */*
    user-agent: otpd/0.1.0

    {
      "messages": [
        {
          "message-id": "019802834d407000800000000000002a-1-1",
          "recipient": "998901234567",
          "sms": {
            "content": {
              "text": "Your code is 482913"
            },
            "originator": "Shop",
            "ttl": "299"
          }
        }
      ],
      "priority": "realtime"
    }
    "#);
}

#[test]
fn a_name_is_short_and_leads_back_to_its_attempt() {
    let id: AttemptId = ATTEMPT.replace(":1:1", ":12:345").parse().expect("an attempt");
    let name = reference(id);
    assert!(name.len() <= 40 && name.is_ascii() && attempt(&name) == Some(id), "{name}");
    assert_eq!((attempt("x-1-1"), attempt("")), (None, None));
}

#[track_caller]
fn check(code: u64, expected: &Cause) {
    let wiki = json!({"error_code": code.to_string(), "description": "d"});
    let library = json!({"error-code": code, "error-description": "d"});
    for body in [wiki, library] {
        for status in [200, 400] {
            assert_eq!(&read(&reply(status, &body)).expect_err("a failure").0, expected, "{status} {body}");
        }
    }
}

#[track_caller]
fn check_http(status: u16, expected: &Cause) {
    assert_eq!(&read(&reply(status, "<html>")).expect_err("a failure").0, expected, "{status}");
}

#[test]
fn every_known_code_has_its_cause() {
    use Misconfiguration::{Credentials, Endpoint, IpBlocked, Sender};
    check(100, &Cause::Unavailable);
    check(102, &Cause::Misconfigured(Credentials));
    for code in [401, 402, 404, 405, 406] {
        check(code, &Cause::Misconfigured(Sender));
    }
    for code in [101, 103, 104, 105, 202, 204, 205, 206, 301, 302, 303, 304, 305, 306, 403, 407, 408, 410, 411, 999] {
        check(code, &Cause::Misconfigured(Endpoint));
    }
    check_http(401, &Cause::Misconfigured(Credentials));
    check_http(403, &Cause::Misconfigured(IpBlocked));
    check_http(429, &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    check_http(500, &Cause::Unavailable);
    check_http(502, &Cause::Unavailable);
    check_http(404, &Cause::Misconfigured(Endpoint));
    check_http(200, &Cause::Misconfigured(Endpoint));
    check_http(302, &Cause::Misconfigured(Endpoint));
}

#[tokio::test]
async fn a_refusal_keeps_its_words_but_not_the_message() {
    let body = r#"{"error_code": "405", "description": "998901234567 cannot get 482913"}"#;
    let server = answering_text(400, body).await;
    let failed = provider(json!({"base_url": server.uri()})).send(&uzbek()).await;
    let (cause, detail) = (Cause::Misconfigured(Misconfiguration::Sender), "400 405: *** cannot get ***".to_owned());
    assert_eq!(failed, Err(Failure { cause, detail }));
}

#[tokio::test]
async fn numbers_of_other_countries_are_left_to_others() {
    let failed = provider(json!({"base_url": "http://127.0.0.1:9"})).send(&sms()).await.expect_err("abroad");
    assert_eq!((failed.cause, failed.detail.contains("Uzbekistan")), (Cause::Unavailable, true));
}

async fn checked(status: u16, text: &str) -> Check {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/broker-api/send"))
        .and(basic_auth("shop", "p4ss"))
        .and(body_json(json!({"messages": []})))
        .respond_with(ResponseTemplate::new(status).set_body_string(text))
        .mount(&server)
        .await;
    provider(json!({"base_url": server.uri()})).check().await
}

#[tokio::test]
async fn a_check_offers_nothing_and_tells_who_was_refused() {
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    for code in ["101", "103"] {
        assert_eq!(checked(400, &format!(r#"{{"error_code": "{code}", "description": "d"}}"#)).await, fine, "{code}");
    }
    assert_eq!(checked(200, "Request is received").await, fine);
    for (status, text) in [(401, ""), (400, r#"{"error-code": 102, "error-description": "Account is locked"}"#)] {
        let stranger = checked(status, text).await;
        assert_eq!(stranger.credentials, Some(false));
        assert_eq!(stranger.problem.expect("problem").0, Misconfiguration::Credentials);
    }
    let abroad = checked(403, "<html>").await;
    assert_eq!((abroad.credentials, abroad.problem.expect("problem").0), (None, Misconfiguration::IpBlocked));
    let ill = checked(400, r#"{"error_code": 100}"#).await;
    assert_ill(ill);
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

fn received(
    provider: &dyn Provider,
    secret: Option<&str>,
    authorization: Option<&str>,
    body: &[u8],
) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let headers: Vec<_> =
        authorization.map(|value| ("Authorization".to_owned(), value.to_owned())).into_iter().collect();
    provider.receipts(&ReceiptRequest { secret, ..receipt("https://otp.example.com/receipts/x", &headers, body) })
}

fn received_json_of(body: &Value) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    received(&*provider(json!({})), Some(SECRET), None, body.to_string().as_bytes())
}

fn status(id: &str, status: &str) -> Value {
    json!({"message-id": id, "channel": "SMS", "status": status, "status-date": "2025-07-13 10:30:00"})
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (said, expected) in [
        ("Transmitted", Some(Sent)),
        ("Delivered", Some(Delivered)),
        ("NotDelivered", Some(Undelivered)),
        ("Expired", Some(Undelivered)),
        ("Rejected", Some(Undelivered)),
        ("Failed", Some(Undelivered)),
        ("Anything new", None),
    ] {
        let events = received_json_of(&json!({"messages": [status(REFERENCE, said)]})).expect("a receipt");
        assert_eq!(events.first().map(|event| event.status), expected, "{said}");
    }
}

#[test]
fn lists_and_single_ones_name_their_attempts() {
    let mut lost = status(&REFERENCE.replace("-1-1", "-2-3"), "NotDelivered");
    lost["description"] = "998901234567 is away".into();
    let event = |attempt: &str, id: &str, status, detail: Option<&str>| ReceiptEvent {
        message_id: id.to_owned(),
        attempt: attempt.parse().ok(),
        status,
        detail: detail.map(str::to_owned),
    };
    let first = event(ATTEMPT, REFERENCE, ReceiptStatus::Delivered, None);
    let other = (ATTEMPT.replace(":1:1", ":2:3"), REFERENCE.replace("-1-1", "-2-3"));
    let second = event(&other.0, &other.1, ReceiptStatus::Undelivered, Some("*** is away"));
    let delivered = status(REFERENCE, "Delivered");
    let both = Ok(vec![first.clone(), second]);
    assert_eq!(received_json_of(&json!({"messages": [delivered, lost]})), both);
    assert_eq!(received_json_of(&json!([delivered, lost])), both);
    assert_eq!(received_json_of(&delivered), Ok(vec![first]));
}

#[test]
fn receipts_come_by_what_was_agreed_upon() {
    let good = status(REFERENCE, "Delivered").to_string();
    let come = |provider: &dyn Provider, secret, authorization| {
        received(provider, secret, authorization, good.as_bytes()).map(|events| events.len())
    };
    // shop:agreed
    let agreed = Some("Basic c2hvcDphZ3JlZWQ=");
    let credentials = json!({"receipt_username": "shop", "receipt_password": "agreed"});
    let by_secret = provider(json!({}));
    let by_credentials = provider(with(credentials.clone(), json!({"receipt_secret": ""})));
    let by_both = provider(credentials);
    let by_none = provider(json!({"receipt_secret": ""}));
    assert_eq!(come(&*by_secret, Some(SECRET), None), Ok(1));
    assert_eq!(come(&*by_credentials, None, agreed), Ok(1));
    assert_eq!(come(&*by_both, Some(SECRET), agreed), Ok(1));
    for (provider, secret, authorization) in [
        (&by_secret, None, agreed),
        (&by_secret, Some("0123456789abcdeF"), None),
        (&by_credentials, Some(SECRET), None),
        (&by_credentials, None, Some("Basic c2hvcDphZ3JlZWQ")),
        (&by_both, Some(SECRET), None),
        (&by_both, None, agreed),
    ] {
        assert_eq!(come(&**provider, secret, authorization), Err(BadReceipt::Forged), "{secret:?} {authorization:?}");
    }
    assert_eq!(come(&*by_none, Some(SECRET), agreed), Err(BadReceipt::NotSupported));
    assert!(by_credentials.has_receipts() && by_secret.has_receipts() && !by_none.has_receipts());
}

#[test]
fn other_bodies_are_malformed() {
    for bad in [json!({}), json!("x"), json!({"messages": [{"status": "Delivered"}]}), json!([1]), Value::Null] {
        assert_eq!(received_json_of(&bad), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[test]
fn half_of_the_agreed_credentials_is_a_mistake() {
    let settings = json!({"username": "shop", "password": "p4ss", "receipt_username": "shop", "priority": "urgent"});
    let problems = configure(Settings::new("playmobile", &settings), &tools()).expect_err("problems").join("\n");
    assert!(problems.contains(".receipt_password: ") && problems.contains(".priority: "), "{problems}");
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}", provider(json!({"receipt_username": "a", "receipt_password": "agreed"})));
    assert!(!shown.contains("p4ss") && !shown.contains(SECRET) && !shown.contains("agreed"), "{shown}");
}

#[test]
fn no_body_makes_it_panic() {
    let provider = provider(json!({}));
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(code in 100_u16..600, body in bytes, text in "\\PC{0,100}")| {
        let _ = received(&*provider, Some(SECRET), None, &body);
        let _ = received(&*provider, Some(SECRET), None, status(&text, "Failed").to_string().as_bytes());
        let _ = (attempt(&text), read(&reply(code, &json!({"error_code": text, "description": text}))));
        let _ = read(&Reply { body, ..reply(code, "") });
    });
}
