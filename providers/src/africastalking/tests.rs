//! Africa's Talking against a stub: what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use serde_json::json;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, RETRY_AFTER, answering, assert_ill, receipt, rendered, reply, sms, tools, with};

const SECRET: &str = "0123456789abcdef";

fn provider(more: Value) -> Arc<dyn Provider> {
    let settings = json!({"username": "shop", "api_key": "atsk_1", "from": "SHOP", "receipt_secret": SECRET});
    configure(Settings::new("africastalking", &with(settings, more)), &tools()).expect("settings")
}

fn at(server: &MockServer) -> Arc<dyn Provider> {
    provider(json!({"base_url": server.uri()}))
}

fn answer(code: u64, status: &str, id: &str) -> Value {
    let recipient = json!({"statusCode": code, "number": "+14155552671", "cost": "KES 0.8000", "status": status,
                           "messageId": id});
    json!({"SMSMessageData": {"Message": "Sent to 1/1 Total Cost: KES 0.8000", "Recipients": [recipient]}})
}

#[tokio::test]
async fn an_sms_is_one_form() {
    let server = answering(201, answer(101, "Success", "ATXid_1")).await;
    let handed = at(&server).send(&sms()).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some("ATXid_1".to_owned()), delivered: false });
    insta::assert_snapshot!(rendered(&server.received_requests().await.expect("requests")[0]), @"
    POST /version1/messaging
    apikey: atsk_1
    accept: application/json
    content-type: application/x-www-form-urlencoded
    user-agent: otpd/0.1.0

    username=shop
    &to=%2B14155552671
    &message=Your+code+is+482913
    &bulkSMSMode=1
    &from=SHOP
    ");
}

#[tokio::test]
async fn without_a_sender_the_accounts_own_is_used() {
    let server = answering(201, answer(102, "Queued", "ATXid_1")).await;
    assert!(provider(json!({"base_url": server.uri(), "from": ""})).send(&sms()).await.is_ok());
    assert!(!rendered(&server.received_requests().await.expect("requests")[0]).contains("from="));
}

#[test]
fn the_sandbox_has_a_host_of_its_own() {
    assert!(format!("{:?}", provider(json!({"username": "sandbox"}))).contains(SANDBOX_URL));
    assert!(format!("{:?}", provider(json!({}))).contains(BASE_URL));
}

#[track_caller]
fn check(code: u64, status: &str, expected: &Cause) {
    let of_one = read(&reply(201, &answer(code, status, "None"))).expect_err("a failure").0;
    assert_eq!(&of_one, expected, "{code} {status}");
    let of_all = json!({"SMSMessageData": {"Message": status, "Recipients": []}});
    assert_eq!(&read(&reply(201, &of_all)).expect_err("a failure").0, expected, "{status}");
}

#[track_caller]
fn check_http(status: u16, body: &str, expected: &Cause) {
    assert_eq!(&read(&reply(status, body)).expect_err("a failure").0, expected, "{status} {body}");
}

#[test]
fn every_known_code_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    check(401, "RiskHold", &Cause::Unavailable);
    check(402, "InvalidSenderId", &Cause::Misconfigured(Sender));
    check(403, "InvalidPhoneNumber", &Cause::Rejected);
    check(404, "UnsupportedNumberType", &Cause::Rejected);
    check(405, "InsufficientBalance", &Cause::Misconfigured(Balance));
    check(406, "UserInBlacklist", &Cause::Rejected);
    check(407, "CouldNotRoute", &Cause::Unavailable);
    check(409, "DoNotDisturbRejection", &Cause::Rejected);
    check(500, "InternalServerError", &Cause::Unavailable);
    check(501, "GatewayError", &Cause::Unavailable);
    check(502, "RejectedByGateway", &Cause::Unavailable);
    check(999, "Anything new", &Cause::Misconfigured(Endpoint));
    check_http(401, "The supplied authentication is invalid", &Cause::Misconfigured(Credentials));
    check_http(403, "", &Cause::Misconfigured(Credentials));
    check_http(429, "", &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    check_http(503, "<html>", &Cause::Unavailable);
    check_http(400, "Request is missing required form field 'to'", &Cause::Misconfigured(Endpoint));
    check_http(200, "<html>", &Cause::Misconfigured(Endpoint));
    check_http(302, "", &Cause::Misconfigured(Endpoint));
}

#[test]
fn the_code_decides_and_not_the_http_status() {
    for code in [100, 101, 102] {
        assert!(read(&reply(201, &answer(code, "Success", "ATXid_1"))).is_ok(), "{code}");
    }
    assert!(read(&reply(500, &answer(101, "Success", "ATXid_1"))).is_err());
    let broken = Reply { whole: false, ..reply(201, "{\"SMS") };
    assert_eq!(read(&broken).expect_err("unknown").0, Cause::Ambiguous);
}

#[tokio::test]
async fn a_refusal_keeps_its_words_but_not_the_message() {
    let failed = at(&answering(201, answer(403, "InvalidPhoneNumber +14155552671", "None")).await).send(&sms()).await;
    let detail = "201 403: InvalidPhoneNumber ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
}

async fn checked(username: &str, answer: ResponseTemplate) -> Check {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/version1/user"))
        .and(query_param("username", username))
        .and(header("apiKey", "atsk_1"))
        .respond_with(answer)
        .mount(&server)
        .await;
    provider(json!({"base_url": server.uri(), "username": username})).check().await
}

#[tokio::test]
async fn a_check_tells_credentials_and_money_apart() {
    let money = |balance: &str| ResponseTemplate::new(200).set_body_json(json!({"UserData": {"balance": balance}}));
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let rich = checked("shop", money("KES 1785.50")).await;
    assert_eq!(rich, Check { balance: Some("KES 1785.50".to_owned()), ..fine });
    assert_eq!(checked("shop", money("KES 0.0000")).await.problem.expect("problem").0, Misconfiguration::Balance);
    assert_eq!(checked("sandbox", money("KES 0.0000")).await.problem, None);
    let denied = ResponseTemplate::new(401).set_body_string("The supplied authentication is invalid");
    let stranger = checked("shop", denied).await;
    assert_eq!(stranger.credentials, Some(false));
    assert_eq!(stranger.problem.expect("problem").0, Misconfiguration::Credentials);
    let ill = checked("shop", ResponseTemplate::new(503)).await;
    assert_ill(ill);
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

fn received(provider: &dyn Provider, secret: Option<&str>, body: &[u8]) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let request = receipt("https://otp.example.com/receipts/africastalking/x", &[], body);
    provider.receipts(&ReceiptRequest { secret, ..request })
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    let provider = provider(json!({}));
    for (status, expected) in [
        ("Sent", Some(Sent)),
        ("Submitted", Some(Sent)),
        ("Buffered", Some(Sent)),
        ("Success", Some(Delivered)),
        ("Rejected", Some(Undelivered)),
        ("Failed", Some(Undelivered)),
        ("AbsentSubscriber", Some(Undelivered)),
        ("Expired", Some(Undelivered)),
        ("AnythingNew", None),
    ] {
        let form = format!("id=ATXid_1&status={status}&phoneNumber=%2B14155552671&networkCode=99999&retryCount=0");
        let events = received(&*provider, Some(SECRET), form.as_bytes()).expect("a receipt");
        assert_eq!(events.first().map(|event| event.status), expected, "{status}");
    }
    let form = "id=ATXid_1&status=Failed&failureReason=UserInBlackList";
    let expected = ReceiptEvent {
        message_id: "ATXid_1".to_owned(),
        attempt: None,
        status: Undelivered,
        detail: Some("UserInBlackList".to_owned()),
    };
    assert_eq!(received(&*provider, Some(SECRET), form.as_bytes()), Ok(vec![expected]));
    let quoting = received(&*provider, Some(SECRET), b"id=1&status=Failed&failureReason=482913");
    assert_eq!(quoting.expect("a receipt")[0].detail, None);
}

#[test]
fn receipts_at_another_address_are_not_believed() {
    let (with, without) = (provider(json!({})), provider(json!({"receipt_secret": ""})));
    let good = b"id=ATXid_1&status=Success";
    for secret in [None, Some(""), Some("0123456789abcdeF"), Some(ATTEMPT)] {
        assert_eq!(received(&*with, secret, good), Err(BadReceipt::Forged), "{secret:?}");
    }
    assert_eq!(received(&*without, Some(SECRET), good), Err(BadReceipt::NotSupported));
    assert!(with.has_receipts() && !without.has_receipts());
    assert_eq!(crate::receipts_path(&*with), format!("africastalking/{SECRET}"));
    for bad in ["", "id=1", "status=Success", "id=&status=Success", "{\"id\":1}"] {
        assert_eq!(received(&*with, Some(SECRET), bad.as_bytes()), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}", provider(json!({})));
    assert!(!shown.contains("atsk_1") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn no_body_makes_it_panic() {
    let provider = provider(json!({}));
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(status in 100_u16..600, body in bytes, text in "\\PC{0,100}")| {
        let _ = received(&*provider, Some(SECRET), &body);
        let _ = received(&*provider, Some(SECRET), format!("id={text}&status=Failed&failureReason={text}").as_bytes());
        let _ = read(&Reply { body, ..reply(status, "") });
        let _ = read(&reply(status, &answer(u64::from(status), &text, &text)));
    });
}
