//! SendGrid against a stub: what is sent, what its answers mean, and which receipts are believed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use proptest::prelude::*;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, RETRY_AFTER, email, receipt, received_json, reply, tools, with};

const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+\
                   2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
const AT: &str = "1600112502";
const SIGNED: &str = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
const BODY: &[u8] = b"[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\
    \"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\
    \"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\
    \"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n";

fn provider(extra: Value) -> Arc<dyn Provider> {
    let settings = json!({"api_key": "SG.hunter2", "from": "Shop <otp@shop.example>", "webhook_public_key": KEY});
    configure(Settings::new("sendgrid", &with(settings, extra)), &tools()).expect("settings")
}

async fn answering(answer: ResponseTemplate) -> (MockServer, Arc<dyn Provider>) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let provider = provider(json!({"base_url": server.uri()}));
    (server, provider)
}

#[tokio::test]
async fn an_email_is_one_json_body_without_tracking() {
    let (server, provider) = answering(ResponseTemplate::new(202).insert_header("X-Message-Id", "LRzXl")).await;
    let handed = provider.send(&email()).await;
    assert_eq!(handed, Ok(Handed { message_id: Some("LRzXl".to_owned()), delivered: false }));
    insta::assert_snapshot!(received_json(&server).await, @r#"
    POST /v3/mail/send
    authorization: Bearer SG.hunter2
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "content": [
        {
          "type": "text/plain",
          "value": "Your code is 482913"
        },
        {
          "type": "text/html",
          "value": "<p>Your code is <b>482913</b></p>"
        }
      ],
      "from": {
        "email": "otp@shop.example",
        "name": "Shop"
      },
      "headers": {
        "Auto-Submitted": "auto-generated"
      },
      "personalizations": [
        {
          "custom_args": {
            "otpd_attempt": "01980283-4d40-7000-8000-00000000002a:1:1"
          },
          "to": [
            {
              "email": "Ann@example.com"
            }
          ]
        }
      ],
      "subject": "Your code for shop",
      "tracking_settings": {
        "click_tracking": {
          "enable": false,
          "enable_text": false
        },
        "ganalytics": {
          "enable": false
        },
        "open_tracking": {
          "enable": false
        },
        "subscription_tracking": {
          "enable": false
        }
      }
    }
    "#);
}

#[track_caller]
fn check(status: u16, field: &str, said: &str, expected: &Cause) {
    let body = json!({"errors": [{"message": said, "field": field, "help": null}]});
    assert_eq!(&refusal(&reply(status, &body)).0, expected, "{status} {field} {said}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    let misconfigured = Cause::Misconfigured;
    let throttled = Cause::Throttled { retry_after: Some(RETRY_AFTER) };
    let unverified = "The from address does not match a verified Sender Identity. Mail cannot be sent until…";
    check(401, "", "Maximum credits exceeded", &misconfigured(Balance));
    check(401, "", "The provided authorization grant is invalid, expired, or revoked", &misconfigured(Credentials));
    check(401, "", "Permission denied, wrong credentials", &misconfigured(Credentials));
    check(403, "", "access forbidden", &misconfigured(Credentials));
    check(403, "", "Your IP address is not whitelisted.", &misconfigured(IpBlocked));
    check(403, "from", unverified, &misconfigured(Sender));
    check(403, "", unverified, &misconfigured(Sender));
    check(400, "from.email", "Does not contain a valid address.", &misconfigured(Sender));
    check(403, "", "Too many bad requests", &throttled);
    check(400, "personalizations.0.to.0.email", "Does not contain a valid address.", &Cause::Rejected);
    check(400, "subject", "The subject is required.", &misconfigured(Endpoint));
    check(413, "", "Payload too large", &misconfigured(Endpoint));
    check(451, "", "Unavailable due to data residency restrictions", &misconfigured(Endpoint));
    check(404, "", "not found", &misconfigured(Endpoint));
    check(302, "", "", &misconfigured(Endpoint));
    check(429, "", "too many requests", &throttled);
    check(500, "", "internal error", &Cause::Unavailable);
    check(503, "", "", &Cause::Unavailable);
}

#[tokio::test]
async fn words_quote_nothing_and_a_limit_says_when_it_ends() {
    let said = json!({"errors": [{"message": "ann@example.com: 482913", "field": "personalizations.0.to"}]});
    let failed = answering(ResponseTemplate::new(400).set_body_json(said)).await.1.send(&email()).await;
    let detail = "400: personalizations.0.to: ***: ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
    let soon = Clock::default().now().as_ms() / 1000 + 20;
    let limited = ResponseTemplate::new(429).insert_header("x-ratelimit-reset", soon.to_string());
    let failed = answering(limited).await.1.send(&email()).await.expect_err("limited");
    let Cause::Throttled { retry_after: Some(wait) } = failed.cause else { panic!("{failed:?}") };
    assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(20), "{wait:?}");
}

#[tokio::test]
async fn only_what_names_a_message_is_success() {
    let taken = answering(ResponseTemplate::new(202)).await.1.send(&email()).await;
    assert_eq!(taken, Ok(Handed::default()));
    let page = answering(ResponseTemplate::new(200).set_body_string("<html>")).await.1.send(&email()).await;
    assert_eq!(page.expect_err("no message").cause, Cause::Misconfigured(Misconfiguration::Endpoint));
}

async fn checked(scopes: (u16, Value), credits: Value) -> Check {
    let server = MockServer::start().await;
    for (resource, status, body) in [("/v3/scopes", scopes.0, scopes.1), ("/v3/user/credits", 200, credits)] {
        let answer = ResponseTemplate::new(status).set_body_json(body);
        Mock::given(method("GET")).and(path(resource)).respond_with(answer).mount(&server).await;
    }
    provider(json!({"base_url": server.uri()})).check().await
}

#[tokio::test]
async fn a_check_tells_key_scope_and_credits_apart() {
    let scopes = |scopes: &[&str]| (200, json!({"scopes": scopes}));
    let fine = checked(scopes(&["mail.send"]), json!({"remain": 95, "total": 100, "overage": 0})).await;
    assert_eq!((fine.credentials, fine.balance.as_deref(), &fine.problem), (Some(true), Some("95 credits"), &None));
    let spent = checked(scopes(&["mail.send"]), json!({"remain": 0, "total": 100})).await;
    assert_eq!(spent.problem.expect("problem").0, Misconfiguration::Balance);
    let billed = checked(scopes(&["mail.send"]), json!({"remain": 0, "overage": 7})).await;
    assert_eq!(billed.problem, None);
    let untold = checked(scopes(&["mail.send"]), json!({"errors": []})).await;
    assert_eq!((untold.credentials, untold.balance), (Some(true), None));
    for bad in [scopes(&["alerts.read"]), (401, json!({"errors": [{"message": "authorization required"}]}))] {
        let check = checked(bad, json!({})).await;
        assert_eq!(check.credentials, Some(false));
        assert_eq!(check.problem.expect("problem").0, Misconfiguration::Credentials);
    }
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

/// The vendor's own vector is years old: it must fit, and be refused for its age alone.
#[test]
fn the_published_signature_fits() {
    let key = public_key(KEY).expect("a key");
    let signature = BASE64_STANDARD.decode(SIGNED).expect("base64");
    assert!(key.verify_sig(&[AT.as_bytes(), BODY].concat(), &signature).is_ok());
    assert!(key.verify_sig(&[AT.as_bytes(), &BODY[..BODY.len() - 2]].concat(), &signature).is_err());
    let headers = [(SIGNATURE.to_owned(), SIGNED.to_owned()), (TIMESTAMP.to_owned(), AT.to_owned())];
    let old = provider(json!({})).receipts(&receipt("https://otp.example.com/", &headers, BODY));
    assert_eq!(old, Err(BadReceipt::Forged));
    assert!(public_key(&format!("-----BEGIN PUBLIC KEY-----\n{KEY}\n-----END PUBLIC KEY-----\n")).is_some());
}

struct Signer {
    pair: EcdsaKeyPair,
    provider: Arc<dyn Provider>,
}

impl Signer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key pair");
        let public = BASE64_STANDARD.encode(pair.public_key());
        Self { pair, provider: provider(json!({"webhook_public_key": public})) }
    }

    /// Hands a body over as the vendor would, signed `seconds` from now.
    fn received(&self, seconds: i64, body: &[u8]) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        let at = (Clock::default().now().as_ms() / 1000 + seconds).to_string();
        let tag = self.pair.sign(&SystemRandom::new(), &[at.as_bytes(), body].concat()).expect("a signature");
        let headers = [(SIGNATURE, BASE64_STANDARD.encode(tag)), (TIMESTAMP, at)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        self.provider.receipts(&receipt("https://otp.example.com/receipts/sendgrid", &headers, body))
    }
}

#[test]
fn events_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    let signer = Signer::new();
    for (event, expected) in [
        ("processed", Some(Sent)),
        ("deferred", Some(Sent)),
        ("delivered", Some(Delivered)),
        ("open", Some(Delivered)),
        ("click", Some(Delivered)),
        ("spamreport", Some(Delivered)),
        ("bounce", Some(Undelivered)),
        ("blocked", Some(Undelivered)),
        ("dropped", Some(Undelivered)),
        ("group_unsubscribe", None),
    ] {
        let body = json!([{"event": event, "sg_message_id": "LRzXl.filter.0"}]).to_string();
        let events = signer.received(0, body.as_bytes()).expect("receipts");
        assert_eq!(events.first().map(|event| event.status), expected, "{event}");
    }
    let bounce =
        json!({"event": "bounce", "sg_message_id": "a.b", "otpd_attempt": ATTEMPT, "reason": "550 <a@b.c> 1234567"});
    let body = json!([{"event": "delivered"}, 7, bounce, {"event": "open", "sg_message_id": "c"}]).to_string();
    let events = signer.received(0, body.as_bytes()).expect("receipts");
    let detail = Some("550 *** ***".to_owned());
    let expected =
        ReceiptEvent { message_id: "a".to_owned(), attempt: ATTEMPT.parse().ok(), status: Undelivered, detail };
    assert_eq!((events.len(), &events[0], events[1].message_id.as_str()), (2, &expected, "c"));
}

#[test]
fn other_receipts_are_not_believed() {
    let signer = Signer::new();
    assert!(signer.received(-290, b"[]").is_ok() && signer.received(290, b"[]").is_ok());
    assert_eq!(signer.received(-302, b"[]"), Err(BadReceipt::Forged));
    assert_eq!(signer.received(330, b"[]"), Err(BadReceipt::Forged));
    assert_eq!(signer.received(0, b"{}"), Err(BadReceipt::Malformed));
    let unsigned = receipt("https://otp.example.com/", &[], b"[]");
    assert_eq!(signer.provider.receipts(&unsigned), Err(BadReceipt::Forged));
    let without_key = provider(json!({"webhook_public_key": ""}));
    assert_eq!(without_key.receipts(&unsigned), Err(BadReceipt::NotSupported));
    assert!(!without_key.has_receipts());
}

#[test]
fn settings_are_checked_and_secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("hunter2"));
    let settings = json!({"from": "nobody", "webhook_public_key": "AAAA", "base_url": "http://a.example"});
    let problems = configure(Settings::new("sendgrid", &settings), &tools()).expect_err("problems").join("\n");
    insta::assert_snapshot!(problems, @"
    providers.sendgrid.api_key: set it (SENDGRID_API_KEY) to a key with the scope mail.send
    providers.sendgrid.from: must be an address such as: Shop <otp@example.com>
    providers.sendgrid.webhook_public_key: must be the verification key of the signed event webhook: an ECDSA public key in base64
    providers.sendgrid.base_url: must be an https:// URL, or http:// on this machine
    ");
}

#[test]
fn no_receipt_makes_it_panic() {
    let signer = Signer::new();
    let body = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(text in "\\PC{0,60}", id in "\\PC{0,20}", body in body)| {
        let _ = (signer.received(0, &body), signer.received(0, text.as_bytes()));
        let _ = event(json!({"event": "bounce", "sg_message_id": id, "reason": text}));
    });
}
