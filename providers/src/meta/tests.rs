//! Meta against a stub: what is sent, what its answers mean, and which receipts and challenges are believed.

use proptest::prelude::*;
use wiremock::matchers::{any, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::signature::encode_hex;
use crate::testing::{ATTEMPT, RETRY_AFTER, assert_ill, receipt, received_json, reply, tools, whatsapp, with};

fn provider(extra: Value) -> Arc<dyn Provider> {
    let settings = json!({
        "access_token": "EAA-hunter2", "phone_number_id": "1067", "template": "otp", "languages": {"de": "de", "pt-BR": "pt_BR"},
        "app_secret": "app_secret", "verify_token": "open sesame",
    });
    configure(Settings::new("meta", &with(settings, extra)), &tools()).expect("settings")
}

async fn answering(status: u16, body: Value) -> (MockServer, Arc<dyn Provider>) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(status).set_body_json(body)).mount(&server).await;
    let provider = provider(json!({"base_url": server.uri()}));
    (server, provider)
}

fn taken() -> Value {
    json!({"messaging_product": "whatsapp", "contacts": [{"input": "1", "wa_id": "1"}], "messages": [{"id": "wamid.1"}]})
}

#[tokio::test]
async fn the_code_stands_in_the_templates_body_and_in_its_button() {
    let (server, provider) = answering(200, taken()).await;
    let handed = provider.send(&whatsapp()).await;
    assert_eq!(handed, Ok(Handed { message_id: Some("wamid.1".to_owned()), delivered: false }));
    insta::assert_snapshot!(received_json(&server).await, @r#"
    POST /v23.0/1067/messages
    authorization: Bearer EAA-hunter2
    content-type: application/json
    accept: */*
    user-agent: otpd/0.1.0

    {
      "biz_opaque_callback_data": "01980283-4d40-7000-8000-00000000002a:1:1",
      "messaging_product": "whatsapp",
      "recipient_type": "individual",
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
          "code": "en_US"
        },
        "name": "otp"
      },
      "to": "14155552671",
      "type": "template"
    }
    "#);
}

#[tokio::test]
async fn the_template_has_the_readers_language_where_it_has_it() {
    for (locale, language) in [("de-AT", "de"), ("pt-BR", "pt_BR"), ("pt-PT", "en_US"), ("", "en_US")] {
        let (server, provider) = answering(200, taken()).await;
        let mut message = whatsapp();
        message.locale = locale.to_owned();
        assert!(provider.send(&message).await.is_ok());
        let sent: Value = server.received_requests().await.expect("requests")[0].body_json().expect("JSON");
        assert_eq!(sent["template"]["language"]["code"], language, "{locale}");
    }
}

#[track_caller]
fn check(status: u16, code: u32, expected: &Cause) {
    let body = json!({"error": {"message": "m", "type": "OAuthException", "code": code, "fbtrace_id": "x"}});
    assert_eq!(&read(&reply(status, &body)).expect_err("a failure").0, expected, "{status} {code}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    let misconfigured = Cause::Misconfigured;
    for code in [0, 3, 10, 190, 200, 240, 299, 368, 131_005, 131_031] {
        check(400, code, &misconfigured(Credentials));
    }
    check(401, 9_999, &misconfigured(Credentials));
    check(400, 131_042, &misconfigured(Balance));
    for code in [130_497, 131_030, 131_037, 131_045, 133_010] {
        check(400, code, &misconfigured(Sender));
    }
    for template in [132_000, 132_001, 132_005, 132_007, 132_012, 132_015, 132_016] {
        check(400, template, &misconfigured(Sender));
    }
    for code in [130_472, 131_021, 131_026, 131_049] {
        check(400, code, &Cause::Rejected);
    }
    for code in [4, 80_007, 130_429, 131_048, 131_056] {
        check(400, code, &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    }
    check(429, 9_999, &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    for code in [1, 2, 131_000, 131_016, 131_057, 133_004] {
        check(400, code, &Cause::Unavailable);
    }
    check(500, 9_999, &Cause::Unavailable);
    for code in [33, 100, 131_008, 131_009, 9_999] {
        check(400, code, &misconfigured(Endpoint));
    }
    check(404, 803, &misconfigured(Endpoint));
    check(302, 9_999, &misconfigured(Endpoint));
    let passing = json!({"error": {"code": 9_999, "message": "m", "is_transient": true}});
    assert_eq!(read(&reply(400, &passing)).expect_err("passing").0, Cause::Unavailable);
    assert_eq!(read(&reply(200, "{}")).expect_err("no message").0, misconfigured(Endpoint));
    assert_eq!(read(&reply(400, "<html>")).expect_err("no error").0, misconfigured(Endpoint));
    assert_eq!(read(&Reply { whole: false, ..reply(200, "{\"mess") }), Ok(Handed::default()));
}

#[tokio::test]
async fn words_quote_nothing() {
    let data = json!({"messaging_product": "whatsapp", "details": "14155552671 got no 482913"});
    let said = json!({"error": {"code": 131_026, "message": "(#131026) Message undeliverable", "error_data": data}});
    let failed = answering(400, said).await.1.send(&whatsapp()).await;
    let detail = "400 131026: (#131026) Message undeliverable: *** got no ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
}

async fn checked(number: (u16, Value), templates: Value) -> Check {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(number.0).set_body_json(number.1);
    let asked = Mock::given(method("GET")).and(path("/v23.0/1067")).and(header("authorization", "Bearer EAA-hunter2"));
    asked.respond_with(answer).mount(&server).await;
    let answer = ResponseTemplate::new(200).set_body_json(templates);
    let asked = Mock::given(path("/v23.0/2068/message_templates")).and(query_param("name", "otp"));
    asked.respond_with(answer).mount(&server).await;
    provider(json!({"base_url": server.uri(), "business_account_id": "2068"})).check().await
}

#[tokio::test]
async fn a_check_tells_token_number_and_template_apart() {
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    let number = |status: &str| (200, json!({"id": "1067", "status": status, "quality_rating": "GREEN"}));
    let template = |status: &str| json!({"data": [{"name": "otp", "language": "en_US", "status": status}]});
    let connected = Check { sender: Some("CONNECTED".to_owned()), ..fine.clone() };
    assert_eq!(checked(number("CONNECTED"), template("APPROVED")).await, connected);
    assert_eq!(checked((200, json!({"id": "1067"})), json!({})).await, fine);
    let banned = checked(number("BANNED"), template("APPROVED")).await;
    assert_eq!(banned.problem, Some((Misconfiguration::Sender, "the number is BANNED".to_owned())));
    for (templates, words) in [
        (template("PAUSED"), "the template otp is PAUSED"),
        (
            json!({"data": [{"name": "otp2", "language": "en_US", "status": "APPROVED"}]}),
            "there is no template otp in en_US",
        ),
    ] {
        let check = checked(number("CONNECTED"), templates).await;
        assert_eq!(check.problem, Some((Misconfiguration::Sender, words.to_owned())));
    }
    let refused =
        checked((400, json!({"error": {"code": 190, "message": "Invalid OAuth access token"}})), json!({})).await;
    assert_eq!(refused.credentials, Some(false));
    assert_ill(checked((503, json!({})), json!({})).await);
    assert_eq!(provider(json!({"base_url": "http://127.0.0.1:9"})).check().await.reachable, Some(false));
}

fn received(secret: &[u8], body: &str) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let tag = encode_hex(aws_lc_rs::hmac::sign(&key, body.as_bytes()).as_ref());
    let headers = [("X-Hub-Signature-256".to_owned(), format!("sha256={tag}"))];
    provider(json!({})).receipts(&receipt("https://otp.example.com/receipts/meta", &headers, body.as_bytes()))
}

fn hook(statuses: &Value) -> String {
    let value = json!({"messaging_product": "whatsapp", "metadata": {}, "statuses": statuses});
    let inbound =
        json!({"value": {"messages": [{"from": "14155552671", "text": {"body": "hello"}}]}, "field": "messages"});
    let entry = json!([{"id": "1", "changes": [inbound, {"value": value, "field": "messages"}]}]);
    json!({"object": "whatsapp_business_account", "entry": entry}).to_string()
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (status, expected) in [
        ("sent", Some(Sent)),
        ("delivered", Some(Delivered)),
        ("read", Some(Delivered)),
        ("played", Some(Delivered)),
        ("failed", Some(Undelivered)),
        ("warning", None),
    ] {
        let events = received(b"app_secret", &hook(&json!([{"id": "wamid.1", "status": status}]))).expect("receipts");
        assert_eq!(events.first().map(|event| event.status), expected, "{status}");
    }
    let failed = json!({"id": "wamid.2", "status": "failed", "recipient_id": "14155552671", "biz_opaque_callback_data": ATTEMPT,
                        "errors": [{"code": 131_026, "title": "14155552671 undeliverable"}]});
    let events =
        received(b"app_secret", &hook(&json!([{"id": "wamid.1", "status": "sent"}, failed]))).expect("receipts");
    let expected = ReceiptEvent {
        message_id: "wamid.2".to_owned(),
        attempt: ATTEMPT.parse().ok(),
        status: Undelivered,
        detail: Some("131026: *** undeliverable".to_owned()),
    };
    assert_eq!((events.len(), &events[1]), (2, &expected));
}

#[test]
fn other_receipts_are_not_believed() {
    let body = r#"{"object":"whatsapp_business_account","entry":[]}"#;
    let tag = "sha256=c236c758c9b2bd40b388a550eeca09eaca72384dd0aa5e7c31d19cddac5bba46";
    let answer = |tag: &str, body: &str| {
        let headers = [("x-hub-signature-256".to_owned(), tag.to_owned())];
        provider(json!({})).receipts(&receipt("https://otp.example.com/", &headers, body.as_bytes()))
    };
    assert_eq!(answer(tag, body), Ok(Vec::new()));
    assert_eq!(answer(tag, &body.replace("[]", "[ ]")), Err(BadReceipt::Forged));
    for bad in ["", "sha256=", "sha256=c236", &tag[7..], &tag.replace("c236", "c237")] {
        assert_eq!(answer(bad, body), Err(BadReceipt::Forged), "{bad}");
    }
    assert_eq!(received(b"other", body), Err(BadReceipt::Forged));
    assert_eq!(received(b"app_secret", "{}"), Err(BadReceipt::Malformed));
    let without_secret = provider(json!({"app_secret": ""}));
    assert_eq!(without_secret.receipts(&receipt("https://a.example/", &[], b"")), Err(BadReceipt::NotSupported));
    assert!(!without_secret.has_receipts());
}

#[test]
fn a_challenge_is_echoed_to_who_knows_the_token() {
    let provider = provider(json!({}));
    let ask = |mode: &str, token: &str, challenge: &str| {
        provider.challenge(&format!("hub.mode={mode}&hub.challenge={challenge}&hub.verify_token={token}"))
    };
    assert_eq!(ask("subscribe", "open+sesame", "1158201444"), Ok("1158201444".to_owned()));
    for (mode, token) in
        [("subscribe", "open+sesam"), ("subscribe", ""), ("unsubscribe", "open+sesame"), ("", "open+sesame")]
    {
        assert_eq!(ask(mode, token, "1158201444"), Err(BadReceipt::Forged), "{mode} {token}");
    }
    for challenge in ["", "%3Cscript%3E", "a%0Ab", &"1".repeat(129)] {
        assert_eq!(ask("subscribe", "open+sesame", challenge), Err(BadReceipt::Malformed), "{challenge}");
    }
    assert_eq!(provider.challenge(""), Err(BadReceipt::Forged));
    let without_token = self::provider(json!({"verify_token": ""}));
    assert_eq!(without_token.challenge("hub.mode=subscribe&hub.verify_token="), Err(BadReceipt::NotSupported));
}

#[test]
fn settings_are_checked_and_secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("hunter2"));
    let settings = json!({"phone_number_id": "+1415", "business_account_id": "x/y"});
    let problems = configure(Settings::new("meta", &settings), &tools()).expect_err("problems").join("\n");
    insta::assert_snapshot!(problems, @"
    providers.meta.access_token: set it (WHATSAPP_ACCESS_TOKEN) to a system user's token
    providers.meta.phone_number_id: set it (WHATSAPP_PHONE_NUMBER_ID) to the id of the number, in digits
    providers.meta.template: set it (WHATSAPP_TEMPLATE) to the name of an approved authentication template
    providers.meta.business_account_id: must be the WhatsApp Business account's id
    ");
}

#[test]
fn no_receipt_and_no_challenge_makes_it_panic() {
    let provider = provider(json!({}));
    proptest!(|(text in "\\PC{0,60}", code in 0_u32..200_000)| {
        let _ = (received(b"app_secret", &text), provider.challenge(&text));
        let status = json!({"id": text, "status": "failed", "errors": [{"code": code, "title": text}]});
        let _ = received(b"app_secret", &hook(&json!([status])));
        let _ = (cause(&reply(400, ""), Some(code), false), read(&reply(400, &text)));
    });
}
