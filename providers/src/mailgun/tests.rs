//! Mailgun against a stub: what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use serde_json::json;
use wiremock::matchers::{any, basic_auth, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::signature::encode_hex;
use crate::testing::{ATTEMPT, RETRY_AFTER, email, receipt, rendered, reply, tools, with};

fn provider(extra: Value) -> Arc<dyn Provider> {
    let settings = json!({"api_key": "hunter2", "domain": "mg.shop.example", "webhook_secret": "key-abc"});
    configure(Settings::new("mailgun", &with(settings, extra)), &tools()).expect("settings")
}

async fn answering(status: u16, body: Value) -> (MockServer, Arc<dyn Provider>) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(status).set_body_json(body)).mount(&server).await;
    let provider = provider(json!({"base_url": server.uri(), "from": "Shop <otp@shop.example>"}));
    (server, provider)
}

#[tokio::test]
async fn an_email_is_one_form_without_tracking() {
    let body = json!({"id": "<2026.1@mg.shop.example>", "message": "Queued. Thank you."});
    let (server, provider) = answering(200, body).await;
    let mut message = email();
    message.remaining = Duration::from_secs(419);
    let handed = provider.send(&message).await;
    assert_eq!(handed, Ok(Handed { message_id: Some("2026.1@mg.shop.example".to_owned()), delivered: false }));
    let request = server.received_requests().await.expect("requests").remove(0);
    let kind = request.headers["content-type"].to_str().expect("text");
    let (_, boundary) = kind.split_once("boundary=").expect("a boundary");
    insta::assert_snapshot!(rendered(&request).replace(boundary, "(boundary)").replace('\r', ""), @r#"
    POST /v3/mg.shop.example/messages
    authorization: Basic YXBpOmh1bnRlcjI=
    content-type: multipart/form-data; boundary=(boundary)
    accept: */*
    user-agent: otpd/0.1.0

    --(boundary)
    Content-Disposition: form-data; name="from"

    Shop <otp@shop.example>
    --(boundary)
    Content-Disposition: form-data; name="to"

    Ann@example.com
    --(boundary)
    Content-Disposition: form-data; name="subject"

    Your code for shop
    --(boundary)
    Content-Disposition: form-data; name="text"

    Your code is 482913
    --(boundary)
    Content-Disposition: form-data; name="html"

    <p>Your code is <b>482913</b></p>
    --(boundary)
    Content-Disposition: form-data; name="o:deliver-within"

    6m
    --(boundary)
    Content-Disposition: form-data; name="o:tracking"

    no
    --(boundary)
    Content-Disposition: form-data; name="h:Auto-Submitted"

    auto-generated
    --(boundary)
    Content-Disposition: form-data; name="v:otpd_attempt"

    01980283-4d40-7000-8000-00000000002a:1:1
    --(boundary)--
    "#);
    message.remaining = Duration::from_secs(299);
    assert!(provider.send(&message).await.is_ok());
    let short = rendered(&server.received_requests().await.expect("requests")[1]);
    assert!(!short.contains("deliver-within"), "{short}");
}

#[tokio::test]
async fn messages_come_from_the_domain_where_nothing_else_is_set() {
    let (server, _) = answering(200, json!({"id": "<1@x>"})).await;
    assert!(provider(json!({"base_url": server.uri()})).send(&email()).await.is_ok());
    let shown = rendered(&server.received_requests().await.expect("requests")[0]);
    assert!(shown.contains("otp@mg.shop.example"), "{shown}");
}

#[track_caller]
fn check(status: u16, said: &str, expected: &Cause) {
    let failed = read(&reply(status, &json!({"message": said}))).expect_err("a failure");
    assert_eq!(&failed.0, expected, "{status} {said}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    let misconfigured = Cause::Misconfigured;
    let sandbox = "Domain sandbox1.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only. \
                   Please add your own domain or add the address to authorized recipients in Account Settings.";
    let hourly = "Domain shop.example is not allowed to send: message limit reached, try again after 120 seconds";
    let two_minutes = Cause::Throttled { retry_after: Some(Duration::from_secs(120)) };
    check(401, "Invalid private key", &misconfigured(Credentials));
    check(403, "Domain shop.example is not allowed to send: The account is disabled.", &misconfigured(Credentials));
    check(403, "This IP address may not use the key", &misconfigured(IpBlocked));
    check(402, "Payment required", &misconfigured(Balance));
    check(403, sandbox, &misconfigured(Sender));
    check(400, sandbox, &misconfigured(Sender));
    check(400, "The domain is unverified and requires DNS configuration.", &misconfigured(Sender));
    check(403, "Free accounts are for test purposes only.", &misconfigured(Sender));
    check(400, "from parameter is not a valid address. please check documentation", &misconfigured(Sender));
    check(400, "to parameter is not a valid address. please check documentation", &Cause::Rejected);
    check(400, "'to' parameter is not a valid address. please check documentation", &Cause::Rejected);
    check(400, "Need at least one of 'text', 'html'…", &misconfigured(Endpoint));
    check(404, "Domain not found: mg.shop.example", &misconfigured(Endpoint));
    check(413, "Too large", &misconfigured(Endpoint));
    check(302, "", &misconfigured(Endpoint));
    check(429, "account-requests-per-sec limit exceeded", &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    check(403, hourly, &two_minutes);
    check(500, "Internal Server Error", &Cause::Unavailable);
    check(503, "", &Cause::Unavailable);
    assert_eq!(
        read(&reply(401, "Forbidden")).expect_err("refused"),
        (misconfigured(Credentials), "401: Forbidden".into())
    );
    assert_eq!(
        read(&Reply { retry_after: None, ..reply(429, &json!({"message": hourly})) }).expect_err("limited").0,
        two_minutes
    );
    assert_eq!(read(&reply(200, "{}")).expect_err("no message").0, misconfigured(Endpoint));
    assert_eq!(read(&Reply { whole: false, ..reply(200, "{\"id") }), Ok(Handed::default()));
}

#[tokio::test]
async fn words_quote_nothing() {
    let said = json!({"message": "to parameter is not a valid address: ann@example.com, 482913"});
    let failed = answering(400, said).await.1.send(&email()).await;
    let detail = "400: to parameter is not a valid address: ***, ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
}

async fn checked(domain: (u16, Value), posted: u16) -> Check {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(domain.0).set_body_json(domain.1);
    let asked = Mock::given(method("GET")).and(path("/v4/domains/mg.shop.example")).and(basic_auth("api", "hunter2"));
    asked.respond_with(answer).mount(&server).await;
    let answer = ResponseTemplate::new(posted).set_body_json(json!({"message": "from parameter is missing"}));
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    provider(json!({"base_url": server.uri()})).check().await
}

#[tokio::test]
async fn a_check_tells_key_and_domain_apart() {
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let domain = |state: &str| (200, json!({"domain": {"name": "mg.shop.example", "state": state}}));
    let active = Check { sender: Some("mg.shop.example active".to_owned()), ..fine.clone() };
    assert_eq!(checked(domain("active"), 500).await, active);
    let unverified = checked(domain("unverified"), 500).await;
    assert_eq!(
        (unverified.credentials, unverified.problem.expect("problem").0),
        (Some(true), Misconfiguration::Sender)
    );
    let refused = (401, json!({"message": "Invalid private key"}));
    assert_eq!(checked(refused.clone(), 400).await, fine);
    assert_eq!(checked(refused, 401).await.credentials, Some(false));
    let elsewhere = checked((404, json!({"message": "Domain not found"})), 400).await;
    assert_eq!(elsewhere.problem.expect("problem").0, Misconfiguration::Endpoint);
    assert_eq!(provider(json!({"base_url": "http://127.0.0.1:9"})).check().await.reachable, Some(false));
}

fn signature(timestamp: &str, token: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key-abc");
    encode_hex(aws_lc_rs::hmac::sign(&key, format!("{timestamp}{token}").as_bytes()).as_ref())
}

#[test]
fn the_known_vector_fits() {
    let made = signature("1529006854", "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0");
    assert_eq!(made, "e2905ec0811b47b934cf7cad86dde11c85c09bded28c42894033f36d63481c0b");
}

/// A body as the vendor would post it, signed `seconds` from now.
fn hook(seconds: i64, token: &str, event: &Value) -> String {
    let timestamp = (Clock::default().now().as_ms() / 1000 + seconds).to_string();
    let signature = signature(&timestamp, token);
    json!({"signature": {"timestamp": timestamp, "token": token, "signature": signature}, "event-data": event})
        .to_string()
}

fn received(provider: &dyn Provider, body: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    provider.receipts(&receipt("https://otp.example.com/receipts/mailgun", &[], body.as_bytes()))
}

fn event(event: &str, severity: Option<&str>) -> Value {
    json!({"event": event, "severity": severity, "message": {"headers": {"message-id": "1@mg.shop.example"}}})
}

#[test]
fn events_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (name, severity, expected) in [
        ("accepted", None, Some(Sent)),
        ("failed", Some("temporary"), Some(Sent)),
        ("failed", Some("permanent"), Some(Undelivered)),
        ("failed", None, Some(Undelivered)),
        ("rejected", None, Some(Undelivered)),
        ("delivered", None, Some(Delivered)),
        ("opened", None, Some(Delivered)),
        ("clicked", None, Some(Delivered)),
        ("complained", None, Some(Delivered)),
        ("unsubscribed", None, None),
        ("stored", None, None),
    ] {
        let events = received(&*provider(json!({})), &hook(0, "t", &event(name, severity))).expect("receipts");
        assert_eq!(events.first().map(|event| event.status), expected, "{name} {severity:?}");
    }
    let more = json!({"reason": "bounce", "delivery-status": {"code": 550, "message": "ann@example.com has no 482913"},
                      "user-variables": {"otpd_attempt": ATTEMPT}});
    let expected = ReceiptEvent {
        message_id: "1@mg.shop.example".to_owned(),
        attempt: ATTEMPT.parse().ok(),
        status: Undelivered,
        detail: Some("bounce: *** has no ***".to_owned()),
    };
    let failed = hook(0, "t", &with(event("failed", Some("permanent")), more));
    assert_eq!(received(&*provider(json!({})), &failed), Ok(vec![expected]));
}

#[test]
fn other_receipts_are_not_believed() {
    let provider = provider(json!({}));
    let good = event("delivered", None);
    assert_eq!(received(&*provider, &hook(-302, "a", &good)), Err(BadReceipt::Forged));
    assert_eq!(received(&*provider, &hook(330, "b", &good)), Err(BadReceipt::Forged));
    assert_eq!(
        received(&*provider, &hook(0, "c", &good).replace("\"token\":\"c\"", "\"token\":\"d\"")),
        Err(BadReceipt::Forged)
    );
    assert_eq!(received(&*provider, &hook(0, "e", &json!({"event": "delivered"}))), Err(BadReceipt::Malformed));
    assert_eq!(received(&*provider, ""), Err(BadReceipt::Malformed));
    let unsigned = json!({"event-data": good}).to_string();
    for bad in ["[]", "{}", r#"{"signature": {}}"#, &unsigned] {
        assert_eq!(received(&*provider, bad), Err(BadReceipt::Forged), "{bad}");
    }
    let without_secret = self::provider(json!({"webhook_secret": ""}));
    assert_eq!(received(&*without_secret, &hook(0, "f", &good)), Err(BadReceipt::NotSupported));
    assert!(!without_secret.has_receipts());
}

#[test]
fn a_token_fits_one_body_alone() {
    let provider = provider(json!({}));
    let body = hook(0, "t", &event("failed", Some("permanent")));
    assert!(received(&*provider, &body).is_ok() && received(&*provider, &body).is_ok());
    let altered = body.replace("1@mg", "2@mg");
    assert_eq!(received(&*provider, &altered), Err(BadReceipt::Forged));
    let (mut tokens, now) = (Tokens::default(), Timestamp::from_ms(0));
    assert!(tokens.take("t", b"a", now) && !tokens.take("t", b"b", now + TOLERANCE * 2));
    assert!(tokens.take("t", b"b", now + TOLERANCE * 2 + Duration::from_millis(1)));
    assert_eq!(tokens.0.len(), 1);
}

#[test]
fn settings_are_checked_and_secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("hunter2"));
    let settings = json!({"domain": "a.example/../x", "from": "nobody"});
    let problems = configure(Settings::new("mailgun", &settings), &tools()).expect_err("problems").join("\n");
    insta::assert_snapshot!(problems, @"
    providers.mailgun.api_key: set it (MAILGUN_API_KEY) to an API key, or to a sending key of the domain
    providers.mailgun.domain: set it (MAILGUN_DOMAIN) to the sending domain
    providers.mailgun.from: must be an address such as: Shop <otp@example.com>
    ");
}

#[test]
fn no_receipt_makes_it_panic() {
    let provider = provider(json!({}));
    proptest!(|(text in "\\PC{0,60}", name in "(failed|\\PC{0,9})", token in "\\PC{1,9}")| {
        let _ = received(&*provider, &text);
        let more = json!({"reason": text, "delivery-status": text, "user-variables": {"otpd_attempt": text}});
        let _ = received(&*provider, &hook(0, &token, &with(event(&name, Some(&text)), more)));
        let _ = (said_wait(&text), read(&reply(400, &text)));
    });
}
