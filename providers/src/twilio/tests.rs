//! Twilio against a stub: what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use serde_json::json;
use wiremock::matchers::{any, basic_auth, body_string_contains, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, receipt, rendered, sms, tools, whatsapp};

fn provider(extra: Value) -> Arc<dyn Provider> {
    let mut settings = json!({"account_sid": "AC1", "auth_token": "12345", "from": "+15005550006"});
    let (Value::Object(settings_map), Value::Object(extra)) = (&mut settings, extra) else { panic!("tables") };
    settings_map.extend(extra);
    configure(Settings::new("twilio", &settings), &tools()).expect("settings")
}

fn at(server: &MockServer) -> Arc<dyn Provider> {
    provider(json!({"base_url": server.uri(), "whatsapp_from": "+14155238886"}))
}

async fn answering(status: u16, body: Value) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).insert_header("retry-after", "2").set_body_json(body);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

async fn sent(extra: Value, message: &Message) -> String {
    let server = answering(201, json!({"sid": "SM1", "status": "queued", "error_code": null})).await;
    let mut settings = extra;
    settings["base_url"] = server.uri().into();
    let handed = provider(settings).send(message).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some("SM1".to_owned()), delivered: false });
    rendered(&server.received_requests().await.expect("requests")[0])
}

#[tokio::test]
async fn an_sms_is_one_form() {
    insta::assert_snapshot!(sent(json!({}), &sms()).await, @"
    POST /2010-04-01/Accounts/AC1/Messages.json
    authorization: Basic QUMxOjEyMzQ1
    content-type: application/x-www-form-urlencoded
    accept: */*
    user-agent: otpd/0.1.0

    To=%2B14155552671
    &Body=Your+code+is+482913
    &From=%2B15005550006
    &ValidityPeriod=299
    &StatusCallback=https%3A%2F%2Fotp.example.com%2Freceipts%2Fx%3Fattempt%3D01980283-4d40-7000-8000-00000000002a%3A1%3A1
    ");
}

#[tokio::test]
async fn a_messaging_service_and_redaction_are_asked_for_where_set() {
    let mut message = sms();
    (message.callback, message.remaining) = (None, std::time::Duration::from_millis(100));
    let settings = json!({"from": "", "messaging_service_sid": "MG1", "redact": "true"});
    insta::assert_snapshot!(sent(settings, &message).await, @"
    POST /2010-04-01/Accounts/AC1/Messages.json
    authorization: Basic QUMxOjEyMzQ1
    content-type: application/x-www-form-urlencoded
    accept: */*
    user-agent: otpd/0.1.0

    To=%2B14155552671
    &Body=Your+code+is+482913
    &MessagingServiceSid=MG1
    &ValidityPeriod=1
    &ContentRetention=discard
    &AddressRetention=obfuscate
    ");
}

#[tokio::test]
async fn whatsapp_goes_by_template_where_one_is_set() {
    let settings = json!({"whatsapp_from": "+14155238886", "whatsapp_content_sid": "HX1",
                          "whatsapp_content_variables": "{\"1\": \"{code}\", \"2\": \"{minutes} min\"}"});
    insta::assert_snapshot!(sent(settings, &whatsapp()).await, @"
    POST /2010-04-01/Accounts/AC1/Messages.json
    authorization: Basic QUMxOjEyMzQ1
    content-type: application/x-www-form-urlencoded
    accept: */*
    user-agent: otpd/0.1.0

    To=whatsapp%3A%2B14155552671
    &From=whatsapp%3A%2B14155238886
    &ContentSid=HX1
    &ContentVariables=%7B%221%22%3A%22482913%22%2C%222%22%3A%225+min%22%7D
    &ValidityPeriod=299
    &StatusCallback=https%3A%2F%2Fotp.example.com%2Freceipts%2Fx%3Fattempt%3D01980283-4d40-7000-8000-00000000002a%3A1%3A1
    ");
    let plain = sent(json!({"whatsapp_from": "whatsapp:+14155238886"}), &whatsapp()).await;
    assert!(plain.contains("From=whatsapp%3A%2B14155238886") && plain.contains("Body=Your+code+is+482913"), "{plain}");
}

#[tokio::test]
async fn credentials_go_by_basic_auth_to_the_accounts_messages() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/2010-04-01/Accounts/AC1/Messages.json"))
        .and(basic_auth("AC1", "12345"))
        .and(body_string_contains("To=%2B14155552671"))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({"sid": "SM1"})))
        .expect(1)
        .mount(&server)
        .await;
    assert!(at(&server).send(&sms()).await.is_ok());
}

#[track_caller]
fn check(status: u16, code: u64, expected: &Cause) {
    let body = json!({"code": code, "message": "m", "more_info": "https://www.twilio.com/", "status": status});
    let retry_after = Some(std::time::Duration::from_secs(2));
    let reply = Reply { status, retry_after, body: body.to_string().into_bytes(), whole: true };
    assert_eq!(&read(&reply).expect_err("a failure").0, expected, "{status} {code}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    for (status, code) in [(401, 20003), (401, 0), (403, 20403), (403, 20003), (403, 70051)] {
        check(status, code, &Cause::Misconfigured(Credentials));
    }
    for (status, code) in [(400, 10001), (401, 20005), (403, 20005), (400, 30002)] {
        check(status, code, &Cause::Misconfigured(Balance));
    }
    for code in [21212, 21408, 21601, 21603, 21606, 21608, 30007, 30032, 30034, 63007] {
        check(400, code, &Cause::Misconfigured(Sender));
    }
    for code in [21211, 21217, 21610, 21612, 21614, 21635, 30004, 30005, 30006] {
        check(400, code, &Cause::Rejected);
    }
    for (status, code) in [(429, 20429), (429, 0), (400, 21611), (400, 30001)] {
        check(status, code, &Cause::Throttled { retry_after: Some(std::time::Duration::from_secs(2)) });
    }
    for (status, code) in [(500, 20500), (503, 0), (400, 30003), (400, 30008)] {
        check(status, code, &Cause::Unavailable);
    }
    for (status, code) in [(404, 20404), (400, 21617), (400, 99999), (302, 0)] {
        check(status, code, &Cause::Misconfigured(Endpoint));
    }
}

#[tokio::test]
async fn both_shapes_of_errors_are_read_and_quote_nothing() {
    let old = json!({"code": 21211, "message": "The 'To' number +14155552671 is not valid.", "status": 400});
    let new = json!({"type": "https://…/21211", "title": "Invalid 'To'", "status": 400, "code": "21211",
                     "detail": "14155552671 cannot get 482913"});
    let failed = at(&answering(400, old).await).send(&sms()).await.expect_err("rejected");
    let detail = "400 21211: The 'To' number *** is not valid.".to_owned();
    assert_eq!(failed, Failure { cause: Cause::Rejected, detail });
    let failed = at(&answering(400, new).await).send(&sms()).await.expect_err("rejected");
    let detail = "400 21211: Invalid 'To': *** cannot get ***".to_owned();
    assert_eq!(failed, Failure { cause: Cause::Rejected, detail });
}

#[test]
fn only_a_message_is_success() {
    let reply = |status, body: &str, whole| Reply { status, retry_after: None, body: body.into(), whole };
    assert_eq!(read(&reply(201, "{\"sid\": \"SM", false)), Ok(Handed::default()));
    let endpoint = Cause::Misconfigured(Misconfiguration::Endpoint);
    assert_eq!(read(&reply(200, "<html>", true)).expect_err("no message").0, endpoint);
    assert_eq!(read(&reply(200, "{}", true)).expect_err("no message").0, endpoint);
    let failed = r#"{"sid": "SM1", "status": "failed", "error_code": 30006}"#;
    assert_eq!(read(&reply(201, failed, true)).expect_err("failed at once").0, Cause::Rejected);
}

#[tokio::test]
async fn a_channel_without_a_sender_is_refused_before_anything_leaves() {
    let failed = provider(json!({})).send(&whatsapp()).await.expect_err("no sender");
    assert_eq!(failed.cause, Cause::Misconfigured(Misconfiguration::Sender));
}

async fn checked(account: (u16, Value), balance: (u16, Value)) -> Check {
    let server = MockServer::start().await;
    for (resource, (status, body)) in [("AC1.json", account), ("AC1/Balance.json", balance)] {
        Mock::given(method("GET"))
            .and(path(format!("/2010-04-01/Accounts/{resource}")))
            .and(basic_auth("AC1", "12345"))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .mount(&server)
            .await;
    }
    at(&server).check().await
}

#[tokio::test]
async fn a_check_tells_credentials_account_and_money_apart() {
    let active = || (200, json!({"sid": "AC1", "status": "active", "auth_token": "12345"}));
    let money = |amount: &str| (200, json!({"account_sid": "AC1", "balance": amount, "currency": "USD"}));
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let rich = checked(active(), money("12.5")).await;
    assert_eq!(rich, Check { balance: Some("12.5 USD".to_owned()), ..fine.clone() });
    let poor = checked(active(), money("-0.05")).await;
    assert_eq!(poor.problem.expect("problem").0, Misconfiguration::Balance);
    assert_eq!(checked(active(), (404, json!({}))).await, fine);
    for bad in [(401, json!({"code": 20003, "message": "Authenticate"})), (200, json!({"status": "suspended"}))] {
        let check = checked(bad, money("1")).await;
        assert_eq!(check.credentials, Some(false));
        assert_eq!(check.problem.expect("problem").0, Misconfiguration::Credentials);
    }
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const FORM: &str = "CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309";
const REPEATED: &str = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
const JSON_URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2\
                        &bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";

fn answer(provider: &dyn Provider, url: &str, form: &str, signature: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let headers = [("X-Twilio-Signature".to_owned(), signature.to_owned())];
    provider.receipts(&receipt(url, &headers, form.as_bytes()))
}

/// The vendor's own vectors are of calls, so a fitting signature gets as far as the missing message.
#[test]
fn published_signatures_fit() {
    let provider = provider(json!({}));
    let answer = |url: &str, form: &str, signature: &str| answer(&*provider, url, form, signature);
    for (url, form, signature) in [
        (URL, FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://mycompany.com:443/myapp.php?foo=1&bar=2", FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (URL, REPEATED, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (JSON_URL, "", "a9nBmqA0ju/hNViExpshrM61xv4="),
    ] {
        assert_eq!(answer(url, form, signature), Err(BadReceipt::Malformed), "{signature}");
    }
    assert_eq!(answer(URL, REPEATED, "RSOYDt4T1cUTdK1PDd93/VVr8B8="), Err(BadReceipt::Forged));
    assert_eq!(answer("https://mycompany.com/other", FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="), Err(BadReceipt::Forged));
    assert_eq!(answer(URL, FORM, ""), Err(BadReceipt::Forged));
    assert_eq!(provider.receipts(&receipt(URL, &[], FORM.as_bytes())), Err(BadReceipt::Forged));
}

#[test]
fn the_signed_url_may_have_its_port() {
    assert_eq!(with_and_without_port("http://a.example/x")[1], "http://a.example:80/x");
    assert_eq!(
        with_and_without_port("https://a.example:8443?x=1"),
        ["https://a.example?x=1", "https://a.example:8443?x=1"]
    );
    assert_eq!(with_and_without_port("https://[::1]:8443/x")[0], "https://[::1]/x");
}

/// A receipt as Twilio would send it to our callback.
fn receipt_of(provider: &dyn Provider, status: &str, more: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let url = format!("https://otp.example.com/receipts/twilio?attempt={ATTEMPT}");
    let form = format!("MessageSid=SM1&MessageStatus={status}{more}");
    let mut fields: Vec<_> = form_urlencoded::parse(form.as_bytes()).map(|(n, v)| format!("{n}{v}")).collect();
    fields.sort();
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
    let tag = hmac::sign(&key, format!("{url}{}", fields.concat()).as_bytes());
    answer(provider, &url, &form, &BASE64_STANDARD.encode(tag))
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    let provider = provider(json!({}));
    let receipt_of = |status: &str, more: &str| receipt_of(&*provider, status, more);
    for (status, expected) in [
        ("accepted", None),
        ("queued", None),
        ("scheduled", None),
        ("sending", Some(Sent)),
        ("sent", Some(Sent)),
        ("delivered", Some(Delivered)),
        ("read", Some(Delivered)),
        ("undelivered", Some(Undelivered)),
        ("failed", Some(Undelivered)),
        ("canceled", Some(Undelivered)),
        ("anything new", None),
    ] {
        let events = receipt_of(status, "").expect("a receipt");
        assert_eq!(events.first().map(|event| event.status), expected, "{status}");
    }
    let events = receipt_of("undelivered", "&ErrorCode=30005&To=%2B14155552671").expect("a receipt");
    let expected = ReceiptEvent {
        message_id: "SM1".to_owned(),
        attempt: ATTEMPT.parse().ok(),
        status: Undelivered,
        detail: Some("30005".to_owned()),
    };
    assert_eq!(events, [expected]);
    assert_eq!(receipt_of("failed", "&ErrorCode=482913x").expect("a receipt")[0].detail, None);
}

#[test]
fn secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("12345"));
}

#[test]
fn no_receipt_makes_it_panic() {
    let provider = provider(json!({}));
    let body = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(url in "(https?://)?\\PC{0,60}", signature in "\\PC{0,40}", body in body)| {
        let headers = [("x-twilio-signature".to_owned(), signature)];
        let _ = provider.receipts(&receipt(&url, &headers, &body));
        let _ = receipt_of(&*provider, &url.replace(['&', '%', '+', '='], ""), "");
    });
}
