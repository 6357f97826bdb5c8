//! Postmark against a stub: what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use wiremock::matchers::{any, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, RETRY_AFTER, assert_ill, email, receipt, received_json, reply, tools, with};

const SECRET: &str = "0123456789abcdef";

fn provider(extra: Value) -> Arc<dyn Provider> {
    let settings = json!({"server_token": "hunter2", "from": "Shop <otp@shop.example>", "receipt_secret": SECRET});
    configure(Settings::new("postmark", &with(settings, extra)), &tools()).expect("settings")
}

async fn answering(status: u16, body: Value) -> (MockServer, Arc<dyn Provider>) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(status).set_body_json(body)).mount(&server).await;
    let provider = provider(json!({"base_url": server.uri()}));
    (server, provider)
}

#[tokio::test]
async fn an_email_is_one_json_body_without_tracking() {
    let (server, provider) = answering(200, json!({"ErrorCode": 0, "Message": "OK", "MessageID": "b7bc2f4a"})).await;
    let handed = provider.send(&email()).await;
    assert_eq!(handed, Ok(Handed { message_id: Some("b7bc2f4a".to_owned()), delivered: false }));
    assert_eq!(server.received_requests().await.expect("requests")[0].headers["x-postmark-server-token"], "hunter2");
    insta::assert_snapshot!(received_json(&server).await, @r#"
    POST /email
    accept: application/json
    content-type: application/json
    user-agent: otpd/0.1.0

    {
      "From": "Shop <otp@shop.example>",
      "Headers": [
        {
          "Name": "Auto-Submitted",
          "Value": "auto-generated"
        }
      ],
      "HtmlBody": "<p>Your code is <b>482913</b></p>",
      "MessageStream": "outbound",
      "Metadata": {
        "otpd_attempt": "01980283-4d40-7000-8000-00000000002a:1:1"
      },
      "Subject": "Your code for shop",
      "TextBody": "Your code is 482913",
      "To": "Ann@example.com",
      "TrackLinks": "None",
      "TrackOpens": false
    }
    "#);
}

#[track_caller]
fn check(status: u16, code: u32, said: &str, expected: &Cause) {
    let body = json!({"ErrorCode": code, "Message": said});
    assert_eq!(&read(&reply(status, &body)).expect_err("a failure").0, expected, "{status} {code} {said}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    let misconfigured = Cause::Misconfigured;
    let throttled = Cause::Throttled { retry_after: Some(RETRY_AFTER) };
    check(401, 10, "Bad or missing API token", &misconfigured(Credentials));
    check(401, 0, "", &misconfigured(Credentials));
    check(422, 413, "Account may not send", &misconfigured(Credentials));
    check(422, 405, "Not allowed to send: out of credits", &misconfigured(Balance));
    check(422, 100, "Maintenance", &Cause::Unavailable);
    check(500, 0, "", &Cause::Unavailable);
    check(503, 0, "", &Cause::Unavailable);
    check(422, 429, "Rate limit exceeded", &throttled);
    check(429, 0, "", &throttled);
    check(422, 400, "The sender signature was not found", &misconfigured(Sender));
    check(422, 401, "The sender signature is not confirmed", &misconfigured(Sender));
    check(422, 412, "The account is pending approval", &misconfigured(Sender));
    check(422, 300, "Invalid 'From' address: 'a'.", &misconfigured(Sender));
    check(422, 300, "Invalid 'To' address: 'a'.", &Cause::Rejected);
    check(422, 406, "Inactive recipient", &Cause::Rejected);
    check(422, 300, "Zero bodies specified", &misconfigured(Endpoint));
    for code in [402, 403, 409, 410, 411, 1235] {
        check(422, code, "", &misconfigured(Endpoint));
    }
    check(200, 0, "OK, but no message", &misconfigured(Endpoint));
    check(302, 0, "", &misconfigured(Endpoint));
    assert_eq!(read(&reply(403, "<html>")).expect_err("kept out").0, misconfigured(IpBlocked));
    assert_eq!(read(&reply(404, "<html>")).expect_err("elsewhere").0, misconfigured(Endpoint));
    assert_eq!(read(&Reply { whole: false, ..reply(200, "{\"Err") }), Ok(Handed::default()));
}

#[tokio::test]
async fn words_quote_nothing() {
    let said = json!({"ErrorCode": 406, "Message": "Found inactive addresses: ann@example.com. 482913"});
    let failed = answering(422, said).await.1.send(&email()).await;
    let detail = "422 406: Found inactive addresses: ***. ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
}

async fn checked(status: u16, body: Value) -> Check {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/server"))
        .and(header("x-postmark-server-token", "hunter2"))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    provider(json!({"base_url": server.uri()})).check().await
}

#[tokio::test]
async fn a_check_tells_the_token_and_a_sandbox_apart() {
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let live = Check { sender: Some("Live server".to_owned()), ..fine.clone() };
    assert_eq!(checked(200, json!({"ID": 1, "DeliveryType": "Live"})).await, live);
    assert_eq!(checked(200, json!({"ID": 1})).await, fine);
    let sandbox = checked(200, json!({"ID": 1, "DeliveryType": "Sandbox"})).await;
    assert_eq!(sandbox.problem.expect("problem").0, Misconfiguration::Sender);
    let refused = checked(401, json!({"ErrorCode": 10, "Message": "Bad or missing API token"})).await;
    assert_eq!(
        (refused.credentials, refused.problem.expect("problem").0),
        (Some(false), Misconfiguration::Credentials)
    );
    assert_ill(checked(503, json!({})).await);
    assert_eq!(provider(json!({"base_url": "http://127.0.0.1:9"})).check().await.reachable, Some(false));
}

fn received(secret: Option<&str>, body: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let request = receipt("https://otp.example.com/receipts/postmark", &[], body.as_bytes());
    provider(json!({})).receipts(&ReceiptRequest { secret, ..request })
}

#[test]
fn events_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (record, bounce, expected) in [
        ("Delivery", None, Some(Delivered)),
        ("Open", None, Some(Delivered)),
        ("Click", None, Some(Delivered)),
        ("SpamComplaint", Some("SpamComplaint"), Some(Delivered)),
        ("Bounce", Some("AutoResponder"), Some(Delivered)),
        ("Bounce", Some("Transient"), Some(Sent)),
        ("Bounce", Some("HardBounce"), Some(Undelivered)),
        ("Bounce", Some("SoftBounce"), Some(Undelivered)),
        ("Bounce", None, Some(Undelivered)),
        ("SubscriptionChange", None, None),
        ("Inbound", None, None),
    ] {
        let body = json!({"RecordType": record, "MessageID": "m1", "Type": bounce}).to_string();
        let events = received(Some(SECRET), &body).expect("receipts");
        assert_eq!(events.first().map(|event| event.status), expected, "{record} {bounce:?}");
    }
    let bounce = json!({
        "RecordType": "Bounce", "MessageID": "m1", "Type": "HardBounce", "TypeCode": 1, "Email": "ann@example.com",
        "Description": "ann@example.com is unknown, 482913 too", "Metadata": {"otpd_attempt": ATTEMPT},
    });
    let expected = ReceiptEvent {
        message_id: "m1".to_owned(),
        attempt: ATTEMPT.parse().ok(),
        status: Undelivered,
        detail: Some("HardBounce: *** is unknown, *** too".to_owned()),
    };
    assert_eq!(received(Some(SECRET), &bounce.to_string()), Ok(vec![expected]));
}

#[test]
fn other_receipts_are_not_believed() {
    let good = r#"{"RecordType": "Delivery", "MessageID": "m1"}"#;
    assert_eq!(received(None, good), Err(BadReceipt::Forged));
    assert_eq!(received(Some("0123456789abcdeF"), good), Err(BadReceipt::Forged));
    for bad in ["", "{}", "[]", r#"{"RecordType": "Delivery"}"#] {
        assert_eq!(received(Some(SECRET), bad), Err(BadReceipt::Malformed), "{bad}");
    }
    let without_secret = provider(json!({"receipt_secret": ""}));
    let request = receipt("https://otp.example.com/", &[], good.as_bytes());
    assert_eq!(without_secret.receipts(&request), Err(BadReceipt::NotSupported));
    assert!(!without_secret.has_receipts());
}

#[test]
fn settings_are_checked_and_secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("hunter2"));
    let settings = json!({"receipt_secret": "short"});
    let problems = configure(Settings::new("postmark", &settings), &tools()).expect_err("problems").join("\n");
    insta::assert_snapshot!(problems, @"
    providers.postmark.server_token: set it (POSTMARK_SERVER_TOKEN) to the server's API token
    providers.postmark.from: set it (POSTMARK_FROM) to the address that messages come from
    providers.postmark.receipt_secret: must have 16 to 128 of A-Z, a-z, 0-9, - and _; make one with: openssl rand -hex 24
    ");
}

#[test]
fn no_receipt_makes_it_panic() {
    proptest!(|(text in "\\PC{0,60}", record in "(Bounce|Open|\\PC{0,9})")| {
        let _ = received(Some(SECRET), &text);
        let body = json!({"RecordType": record, "MessageID": text, "Type": text, "Metadata": {"otpd_attempt": text}});
        let _ = received(Some(SECRET), &body.to_string());
        let _ = read(&reply(422, &text));
    });
}
