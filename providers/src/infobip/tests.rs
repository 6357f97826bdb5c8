//! Infobip against a stub: what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, RETRY_AFTER, answering, receipt, received_json, reply, sms, tools, whatsapp, with};

const SECRET: &str = "0123456789abcdef";

fn provider(more: Value) -> Arc<dyn Provider> {
    let settings = json!({"base_url": "abc123.api.infobip.com", "api_key": "k3y", "from": "Shop",
                          "whatsapp_from": "+447860099299", "receipt_secret": SECRET});
    configure(Settings::new("infobip", &with(settings, more)), &tools()).expect("settings")
}

fn at(server: &MockServer) -> Arc<dyn Provider> {
    provider(json!({"base_url": server.uri()}))
}

fn pending() -> Value {
    json!({"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED", "description": "Accepted"})
}

fn refused(group: &str, name: &str, description: &str) -> Value {
    let status = json!({"groupId": 5, "groupName": group, "id": 12, "name": name, "description": description});
    json!({"bulkId": "b", "messages": [{"messageId": "m1", "status": status, "destination": "14155552671"}]})
}

async fn sent(more: Value, message: &Message, answer: Value) -> String {
    let server = answering(200, answer).await;
    let handed = provider(with(more, json!({"base_url": server.uri()}))).send(message).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some("m1".to_owned()), delivered: false });
    received_json(&server).await
}

async fn sent_one(more: Value, message: &Message) -> String {
    sent(more, message, json!({"bulkId": "b", "messages": [{"messageId": "m1", "status": pending()}]})).await
}

#[tokio::test]
async fn an_sms_lives_as_long_as_its_code() {
    insta::assert_snapshot!(sent_one(json!({}), &sms()).await, @r#"
    POST /sms/3/messages
    authorization: App k3y
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "messages": [
        {
          "content": {
            "text": "Your code is 482913"
          },
          "destinations": [
            {
              "to": "14155552671"
            }
          ],
          "options": {
            "validityPeriod": {
              "amount": 299,
              "timeUnit": "SECONDS"
            }
          },
          "sender": "Shop",
          "webhooks": {
            "callbackData": "01980283-4d40-7000-8000-00000000002a:1:1",
            "contentType": "application/json",
            "delivery": {
              "intermediateReport": true,
              "url": "https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1"
            }
          }
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn whatsapp_goes_by_authentication_template_where_one_is_set() {
    let settings = json!({"whatsapp_template": "login_code", "whatsapp_language": "en_GB"});
    insta::assert_snapshot!(sent_one(settings, &whatsapp()).await, @r#"
    POST /whatsapp/1/message/template
    authorization: App k3y
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "messages": [
        {
          "callbackData": "01980283-4d40-7000-8000-00000000002a:1:1",
          "content": {
            "language": "en_GB",
            "templateData": {
              "body": {
                "placeholders": [
                  "482913"
                ]
              },
              "buttons": [
                {
                  "parameter": "482913",
                  "type": "URL"
                }
              ]
            },
            "templateName": "login_code"
          },
          "from": "447860099299",
          "notifyUrl": "https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1",
          "to": "14155552671"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn whatsapp_without_a_template_is_plain_text() {
    let answer = json!({"to": "14155552671", "messageCount": 1, "messageId": "m1", "status": pending()});
    insta::assert_snapshot!(sent(json!({}), &whatsapp(), answer).await, @r#"
    POST /whatsapp/1/message/text
    authorization: App k3y
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "callbackData": "01980283-4d40-7000-8000-00000000002a:1:1",
      "content": {
        "text": "Your code is 482913"
      },
      "from": "447860099299",
      "notifyUrl": "https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1",
      "to": "14155552671"
    }
    "#);
}

#[tokio::test]
async fn no_receipts_are_asked_for_that_could_not_be_checked() {
    let silent = json!({"receipt_secret": ""});
    let plain = sent_one(silent.clone(), &sms()).await + &sent_one(silent, &whatsapp()).await;
    assert!(!plain.contains("delivery") && !plain.contains("notifyUrl"), "{plain}");
}

#[track_caller]
fn check(name: &str, expected: &Cause) {
    let failed = read(&reply(200, &refused("REJECTED", name, "d"))).expect_err("a failure");
    assert_eq!(&failed.0, expected, "{name}");
}

#[track_caller]
fn check_http(status: u16, name: &str, said: &str, expected: &Cause) {
    let old = json!({"requestError": {"serviceException": {"messageId": name, "text": said}}});
    let new = json!({"errorCode": name, "description": said, "action": "a", "violations": [], "resources": []});
    for body in [old, new] {
        assert_eq!(&read(&reply(status, &body)).expect_err("a failure").0, expected, "{status} {body}");
    }
}

#[test]
fn every_known_status_has_its_cause() {
    use Misconfiguration::{Balance, Endpoint, Sender};
    for name in ["REJECTED_NOT_ENOUGH_CREDITS", "REJECTED_PREPAID_PACKAGE_EXPIRED"] {
        check(name, &Cause::Misconfigured(Balance));
    }
    for name in ["REJECTED_SOURCE", "REJECTED_SENDER", "REJECTED_DESTINATION_NOT_REGISTERED"] {
        check(name, &Cause::Misconfigured(Sender));
    }
    for name in [
        "REJECTED_DESTINATION",
        "REJECTED_DESTINATION_BLOCKLISTED",
        "REJECTED_INVALID_DESTINATION",
        "REJECTED_DND",
        "REJECTED_PREFIX_MISSING",
        "MISSING_TO",
    ] {
        check(name, &Cause::Rejected);
    }
    check("REJECTED_FLOODING_FILTER", &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    for name in [
        "REJECTED_SYSTEM_ERROR",
        "REJECTED_NETWORK",
        "REJECTED_ROUTE_NOT_AVAILABLE",
        "UNDELIVERABLE_REJECTED_OPERATOR",
        "EXPIRED_EXPIRED",
    ] {
        check(name, &Cause::Unavailable);
    }
    check("REJECTED_ANYTHING_NEW", &Cause::Misconfigured(Endpoint));
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Credentials, Endpoint, IpBlocked};
    check_http(401, "UNAUTHORIZED", "Invalid login details", &Cause::Misconfigured(Credentials));
    check_http(403, "FORBIDDEN", "The key has no such scope", &Cause::Misconfigured(Credentials));
    check_http(403, "FORBIDDEN", "Your IP address is not on the safelist", &Cause::Misconfigured(IpBlocked));
    check_http(429, "TOO_MANY_REQUESTS", "Slow down", &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    check_http(500, "GENERAL_ERROR", "Something went wrong", &Cause::Unavailable);
    check_http(400, "BAD_REQUEST", "Bad request", &Cause::Misconfigured(Endpoint));
    check_http(404, "NOT_FOUND", "Requested URL not found", &Cause::Misconfigured(Endpoint));
    check_http(200, "", "", &Cause::Misconfigured(Endpoint));
}

#[test]
fn only_an_accepted_message_is_success() {
    let broken = Reply { whole: false, ..reply(200, "{\"mess") };
    assert_eq!(read(&broken).expect_err("unknown").0, Cause::Ambiguous);
    let endpoint = Cause::Misconfigured(Misconfiguration::Endpoint);
    for body in ["<html>", "{}", r#"{"messages": []}"#, r#"{"messages": [{"messageId": "m1"}]}"#] {
        assert_eq!(read(&reply(200, body)).expect_err("no message").0, endpoint, "{body}");
    }
    assert!(read(&reply(500, &json!({"messages": [{"messageId": "m1", "status": pending()}]}))).is_err());
}

#[tokio::test]
async fn a_refusal_keeps_its_words_but_not_the_message() {
    let answer = refused("REJECTED", "REJECTED_DESTINATION", "14155552671 cannot get 482913");
    let failed = at(&answering(200, answer).await).send(&sms()).await;
    let detail = "200 REJECTED_DESTINATION: *** cannot get ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
    let failed = provider(json!({"whatsapp_from": ""})).send(&whatsapp()).await.expect_err("no sender");
    assert_eq!(failed.cause, Cause::Misconfigured(Misconfiguration::Sender));
}

async fn checked(status: u16, body: Value) -> Check {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/account/1/balance"))
        .and(header("authorization", "App k3y"))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    at(&server).check().await
}

#[tokio::test]
async fn a_check_tells_key_address_and_money_apart() {
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let rich = checked(200, json!({"balance": 47.79, "currency": "EUR"})).await;
    assert_eq!(rich, Check { balance: Some("47.79 EUR".to_owned()), ..fine });
    let poor = checked(200, json!({"balance": 0, "currency": "EUR"})).await;
    assert_eq!(poor.problem.expect("problem").0, Misconfiguration::Balance);
    let stranger = checked(401, json!({"errorCode": "E401", "description": "Invalid login details"})).await;
    assert_eq!(stranger.credentials, Some(false));
    assert_eq!(stranger.problem.expect("problem").0, Misconfiguration::Credentials);
    let abroad = checked(403, json!({"errorCode": "E403", "description": "IP not allowed"})).await;
    assert_eq!((abroad.credentials, abroad.problem.expect("problem").0), (None, Misconfiguration::IpBlocked));
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

fn received(provider: &dyn Provider, secret: Option<&str>, body: &[u8]) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let url = format!("https://otp.example.com/receipts/infobip/{SECRET}?attempt={ATTEMPT}");
    provider.receipts(&ReceiptRequest { secret, ..receipt(&url, &[], body) })
}

fn received_json_of(body: &Value) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    received(&*provider(json!({})), Some(SECRET), body.to_string().as_bytes())
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (group, expected) in [
        ("ACCEPTED", Some(Sent)),
        ("PENDING", Some(Sent)),
        ("DELIVERED", Some(Delivered)),
        ("UNDELIVERABLE", Some(Undelivered)),
        ("EXPIRED", Some(Undelivered)),
        ("REJECTED", Some(Undelivered)),
        ("ANYTHING_NEW", None),
    ] {
        let events = received_json_of(&json!({"results": [{"messageId": "m1", "status": {"groupName": group}}]}));
        assert_eq!(events.expect("a receipt").first().map(|event| event.status), expected, "{group}");
    }
    let seen = received_json_of(&json!({"results": [{"messageId": "m1", "seenAt": "2025-07-13T10:30:00Z"}]}));
    assert_eq!(seen.expect("a receipt")[0].status, Delivered);
}

#[test]
fn a_batch_gives_an_event_for_each_of_its_messages() {
    let other = ATTEMPT.replace(":1:1", ":2:3");
    let delivered = json!({"messageId": "m1", "callbackData": ATTEMPT, "status": {"groupName": "DELIVERED"},
                           "error": {"name": "NO_ERROR", "permanent": false}});
    let lost = json!({"messageId": "m2", "to": "14155552671", "callbackData": other,
                      "status": {"groupName": "UNDELIVERABLE", "name": "UNDELIVERABLE_NOT_DELIVERED"},
                      "error": {"id": 27, "name": "EC_ABSENT_SUBSCRIBER", "permanent": false}});
    let events = received_json_of(&json!({"results": [delivered, {"messageId": "m3"}, lost]})).expect("receipts");
    let event = |id: &str, attempt: &str, status, detail: Option<&str>| ReceiptEvent {
        message_id: id.to_owned(),
        attempt: attempt.parse().ok(),
        status,
        detail: detail.map(str::to_owned),
    };
    let expected = [
        event("m1", ATTEMPT, ReceiptStatus::Delivered, None),
        event("m2", &other, ReceiptStatus::Undelivered, Some("EC_ABSENT_SUBSCRIBER")),
    ];
    assert_eq!(events, expected);
}

#[test]
fn the_attempt_may_come_by_the_address_alone() {
    let one = json!({"messageId": "m1", "status": {"groupName": "DELIVERED"}});
    let alone = received_json_of(&json!({"results": [one]})).expect("a receipt");
    assert_eq!(alone[0].attempt, ATTEMPT.parse().ok());
    let two = received_json_of(&json!({"results": [one, one]})).expect("receipts");
    assert!(two.iter().all(|event| event.attempt.is_none()), "whose address was it?");
}

#[test]
fn receipts_at_another_address_are_not_believed() {
    let (with, without) = (provider(json!({})), provider(json!({"receipt_secret": ""})));
    let good = br#"{"results": [{"messageId": "m1", "status": {"groupName": "DELIVERED"}}]}"#;
    for secret in [None, Some(""), Some("0123456789abcdeF")] {
        assert_eq!(received(&*with, secret, good), Err(BadReceipt::Forged), "{secret:?}");
    }
    assert_eq!(received(&*without, Some(SECRET), good), Err(BadReceipt::NotSupported));
    for bad in ["", "{}", "[]", r#"{"results": [{}]}"#, r#"{"results": [{"messageId": 1}]}"#] {
        assert_eq!(received(&*with, Some(SECRET), bad.as_bytes()), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}", provider(json!({})));
    assert!(!shown.contains("k3y") && !shown.contains(SECRET), "{shown}");
    assert!(shown.contains("https://abc123.api.infobip.com"), "{shown}");
}

#[test]
fn no_body_makes_it_panic() {
    let provider = provider(json!({}));
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(status in 100_u16..600, body in bytes, text in "\\PC{0,100}")| {
        let _ = received(&*provider, Some(SECRET), &body);
        let report = json!({"results": [{"messageId": text, "callbackData": text, "status": {"groupName": "REJECTED",
                            "name": text}}]});
        let _ = received(&*provider, Some(SECRET), report.to_string().as_bytes());
        let _ = read(&Reply { body, ..reply(status, "") });
        let _ = read(&reply(status, &refused(&text, &text, &text)));
    });
}
