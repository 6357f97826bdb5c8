//! Vendors by configuration against a stub: what is sent, what answers mean, which receipts are believed.

use common::otp::status::ReceiptStatus;
use config::{Config, File, FileFormat};
use proptest::prelude::*;
use serde_json::json;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::registry::build;
use crate::signature::encode_hex;
use crate::testing::{ATTEMPT, RETRY_AFTER, assert_ill, email, receipt, rendered, sms, tools, with};

const SECRET: &str = "0123456789abcdef";

fn settings(extra: serde_json::Value) -> serde_json::Value {
    with(json!({"channels": "sms,email", "url": "https://sms.example/send"}), extra)
}

fn provider(extra: serde_json::Value) -> Arc<dyn Provider> {
    configure(Settings::new("local", &settings(extra)), &tools()).expect("settings")
}

fn problems(extra: serde_json::Value) -> String {
    configure(Settings::new("local", &settings(extra)), &tools()).expect_err("problems").join("\n")
}

async fn answering(status: u16, body: &str) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).insert_header("retry-after", "2").insert_header("x-id", "from header");
    Mock::given(any()).respond_with(answer.set_body_string(body)).mount(&server).await;
    server
}

async fn sent(mut extra: serde_json::Value, message: &Message) -> String {
    let server = answering(200, "{}").await;
    extra["url"] = extra["url"].as_str().unwrap_or("/send").replacen('/', &format!("{}/", server.uri()), 1).into();
    assert_eq!(provider(extra).send(message).await, Ok(Handed::default()));
    let request = server.received_requests().await.expect("requests").remove(0);
    let query = request.url.query().map_or(String::new(), |query| format!("?{query}\n"));
    format!("{query}{}", rendered(&request))
}

#[tokio::test]
async fn json_is_filled_leaf_by_leaf() {
    let settings = json!({
        "token": "t0ken", "receipt_secret": SECRET, "receipts": {"message_id": "item.id", "delivered": "true"},
        "json": {"to": ["{{ digits }}"], "text": "{{ text }} \"{{ project }}\"", "life": "{{ expires_in }}",
                 "minutes": "{{ minutes }} min", "report": "{{ callback }}", "subject": "{{ subject }}", "flash": false},
    });
    insta::assert_snapshot!(sent(settings, &sms()).await, @r#"
    POST /send
    content-type: application/json
    authorization: Bearer t0ken
    accept: */*
    user-agent: otpd/0.1.0

    {"flash":false,"life":299,"minutes":"5 min","report":"https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1","text":"Your code is 482913 \"shop\"","to":["14155552671"]}
    "#);
}

#[tokio::test]
async fn a_form_goes_with_basic_auth_and_leaves_out_what_is_empty() {
    let settings = json!({
        "username": "shop", "password": "open sesame", "headers": {"x-key": "{{ secrets.api_key }}", "X-Empty": "{{ html }}"},
        "secrets": {"api_key": "k&y"},
        "form": {"to": "{{ target }}", "text": "{{ text }}", "key": "{{ secrets.api_key }}", "report": "{{ callback }}"},
    });
    insta::assert_snapshot!(sent(settings, &sms()).await, @"
    POST /send
    content-type: application/x-www-form-urlencoded
    authorization: Basic c2hvcDpvcGVuIHNlc2FtZQ==
    accept: */*
    user-agent: otpd/0.1.0

    key=k%26y
    &text=Your+code+is+482913
    &to=%2B14155552671
    ");
}

#[tokio::test]
async fn a_query_will_do_and_fields_in_the_path_are_escaped() {
    let mut message = sms();
    message.project_name = "a/b ?".to_owned();
    let settings = json!({
        "method": "GET", "url": "/{{ secrets.api_key }}/{{ project }}/send", "secrets": {"api_key": "k/1"},
        "query": {"to": "{{ digits }}", "text": "{{ text }}", "id": "{{ dispatch }}"},
    });
    insta::assert_snapshot!(sent(settings, &message).await, @"
    ?id=01980283-4d40-7000-8000-00000000002a%3A1&text=Your+code+is+482913&to=14155552671
    GET /k%2F1/a%2Fb%20%3F/send
    accept: */*
    user-agent: otpd/0.1.0
    ");
}

#[tokio::test]
async fn text_is_escaped_where_it_is_xml() {
    let settings = json!({
        "content_type": "text/xml; charset=utf-8", "headers": {"SOAPAction": "send"},
        "body": "<sms to=\"{{ target }}\" subject=\"{{ subject }}\">{{ html }}</sms>",
    });
    insta::assert_snapshot!(sent(settings, &email()).await.replace("\n&", "&"), @r#"
    POST /send
    content-type: text/xml; charset=utf-8
    accept: */*
    user-agent: otpd/0.1.0

    <sms to="Ann@example.com" subject="Your code for shop">&lt;p&gt;Your code is &lt;b&gt;482913&lt;&#x2f;b&gt;&lt;&#x2f;p&gt;</sms>
    "#);
}

async fn answered(status: u16, body: &str, mut extra: serde_json::Value) -> Result<Handed, Failure> {
    let server = answering(status, body).await;
    extra["url"] = server.uri().into();
    provider(extra).send(&sms()).await
}

async fn check_cause(status: u16, body: &str, extra: serde_json::Value, expected: Cause) {
    let failed = answered(status, body, extra).await.expect_err("a failure");
    assert_eq!(failed.cause, expected, "{status} {body}");
}

#[tokio::test]
async fn every_cause_has_its_condition() {
    use Misconfiguration::{Balance, Credentials, Endpoint, IpBlocked, Sender};
    for (name, cause) in [
        ("misconfigured_credentials", Cause::Misconfigured(Credentials)),
        ("misconfigured_balance", Cause::Misconfigured(Balance)),
        ("misconfigured_ip_blocked", Cause::Misconfigured(IpBlocked)),
        ("misconfigured_sender", Cause::Misconfigured(Sender)),
        ("misconfigured_endpoint", Cause::Misconfigured(Endpoint)),
        ("rejected", Cause::Rejected),
        ("throttled", Cause::Throttled { retry_after: Some(RETRY_AFTER) }),
        ("unavailable", Cause::Unavailable),
        ("ambiguous", Cause::Ambiguous),
    ] {
        check_cause(200, r#"{"error": 5}"#, json!({"causes": {name: "json.error == 5"}}), cause).await;
    }
}

#[tokio::test]
async fn what_no_condition_names_goes_by_status() {
    use Misconfiguration::{Balance, Credentials, Endpoint};
    for (status, cause) in [
        (401, Cause::Misconfigured(Credentials)),
        (402, Cause::Misconfigured(Balance)),
        (403, Cause::Misconfigured(Credentials)),
        (429, Cause::Throttled { retry_after: Some(RETRY_AFTER) }),
        (500, Cause::Unavailable),
        (302, Cause::Misconfigured(Endpoint)),
        (400, Cause::Misconfigured(Endpoint)),
    ] {
        check_cause(status, "no", json!({"causes": {"rejected": "json.error == 5"}}), cause).await;
    }
    let endpoint = Cause::Misconfigured(Endpoint);
    check_cause(200, "<html>", json!({"message_id": "json.id"}), endpoint.clone()).await;
    check_cause(200, "NO", json!({"accepted": "body is startingwith 'OK'"}), endpoint).await;
}

#[tokio::test]
async fn the_message_id_stands_where_the_settings_say() {
    for (body, expression, expected) in [
        (r#"{"messages": [{"id": 12}]}"#, "json.messages[0].id", Some("12")),
        ("OK: 12", "body | split(':') | last", Some("12")),
        ("", "headers['x-id']", Some("from header")),
    ] {
        let handed = answered(200, body, json!({"message_id": expression})).await.expect("accepted");
        assert_eq!(handed.message_id.as_deref(), expected, "{expression}");
    }
    let accepted = answered(302, "OK", json!({"accepted": "body == 'OK'", "message_id": "json.id"})).await;
    assert_eq!(accepted, Ok(Handed::default()));
}

#[tokio::test]
async fn words_are_kept_without_the_message_and_without_our_secrets() {
    let settings = json!({"password": "hunter2", "username": "u", "secrets": {"api_key": "sw0rdfish"}});
    let failed = answered(400, "key SW0RDFISH, hunter2: 482913 to +14155552671", settings).await.expect_err("refused");
    assert_eq!(failed.detail, "400: key ***, ***: *** to ***");
    let shown = format!("{:?}", provider(json!({"url": "https://a.example/token", "secrets": {"key": "sw0rdfish"}})));
    assert!(!shown.contains("token") && !shown.contains("sw0rdfish"));
}

async fn checked(status: u16, body: &str) -> Check {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).set_body_string(body);
    Mock::given(method("GET")).and(path("/balance")).respond_with(answer).mount(&server).await;
    let check = json!({"url": format!("{}/balance", server.uri()), "balance": "json.amount"});
    provider(json!({"causes": {"misconfigured_credentials": "json.error == 2"}, "check": check})).check().await
}

#[tokio::test]
async fn a_check_asks_what_the_settings_say() {
    let fine = checked(200, r#"{"amount": 9.5}"#).await;
    assert_eq!((fine.credentials, fine.balance.as_deref(), &fine.problem), (Some(true), Some("9.5"), &None));
    let spent = checked(200, r#"{"amount": "0.0"}"#).await;
    assert_eq!(spent.problem.expect("problem").0, Misconfiguration::Balance);
    for spent in [r#"{"amount": "0.00 USD"}"#, r#"{"amount": "$0.00"}"#] {
        assert_eq!(checked(200, spent).await.problem.expect("problem").0, Misconfiguration::Balance, "{spent}");
    }
    let unknown = checked(200, r#"{"credit": 5}"#).await;
    assert_eq!((unknown.credentials, unknown.balance.as_deref()), (Some(true), Some("not found in the answer")));
    let refused = checked(200, r#"{"error": 2}"#).await;
    assert_eq!(refused.credentials, Some(false));
    assert_ill(checked(503, "").await);
    let server = answering(404, "").await;
    assert_eq!(provider(json!({"url": format!("{}/send", server.uri())})).check().await.reachable, Some(true));
    assert_eq!(provider(json!({"url": "http://127.0.0.1:9/"})).check().await.reachable, Some(false));
}

#[test]
fn every_problem_of_the_settings_is_named() {
    insta::assert_snapshot!(problems(json!({
        "url": "http://sms.example/{{ elsewhere }}", "method": "PATCH", "json": {}, "form": {}, "causes": {"broke": "1"},
        "accepted": "json.", "headers": {"a b": "c"}, "password": "p", "check": {}, "receipts": {"signature_header": "x"},
    })), @"
    providers.local.username: set it beside password, for basic authentication
    providers.local.causes: each must be one of misconfigured_credentials, misconfigured_balance, misconfigured_ip_blocked, misconfigured_sender, rejected, throttled, unavailable, ambiguous, misconfigured_endpoint
    providers.local.accepted: must be an expression such as json.error.code == 12 (syntax error)
    providers.local.receipts.signature_secret: set signature_header and signature_secret, or neither
    providers.local.receipts.delivered: set it to what tells such receipts, as item.status == 'DELIVERED'
    providers.local.receipts.message_id: set it to where receipts name the message, as item.id
    providers.local.method: must be GET, POST or PUT
    providers.local.headers: each name must be one that a header may have
    providers.local.body: set one of json, form and body, and none with GET
    providers.local.check.url: set it to a URL that can be asked without anything being sent
    providers.local.url: its template names elsewhere, which there is not
    ");
    insta::assert_snapshot!(problems(json!({"url": "http://sms.example/", "token": "a\nb"})), @"
    providers.local.token: must be one line of plain characters
    providers.local.url: must be https:// without credentials; http:// needs allow_http = true
    ");
    insta::assert_snapshot!(problems(json!({
        "json": {"to": ["{{ elsewhere }}"], "text": "{{ text }} {{ secrets.key }}", "fine": "{{ digits | int }}"},
        "headers": {"x": "{{ nobody }}", "y": "{{ text"}, "query": {"a": "{{ secrets.other }}"}, "secrets": {"k": "v"},
        "check": {"url": "https://sms.example/{{ nobody }}"},
    })), @"
    providers.local.json.text: its template names secrets.key, which there is not
    providers.local.json.to[0]: its template names elsewhere, which there is not
    providers.local.query.a: its template names secrets.other, which there is not
    providers.local.headers.x: its template names nobody, which there is not
    providers.local.headers.y: its template cannot be filled: syntax error
    providers.local.check.url: its template names nobody, which there is not
    ");
    insta::assert_snapshot!(problems(json!({"body": "{{ txt }}"})), @"providers.local.body: its template names txt, which there is not");
    insta::assert_snapshot!(problems(json!({
        "accepted": "statsu == 200", "message_id": "jason.id", "causes": {"throttled": "jsno.code == 5", "rejected": "json."},
        "check": {"url": "https://sms.example/", "balance": "jsn.amount"}, "receipt_secret": SECRET,
        "receipts": {"message_id": "items.id", "delivered": "item.status in range(3) and query.x"},
    })), @"
    providers.local.accepted: there is no statsu: it may name status, headers, body, json
    providers.local.message_id: there is no jason: it may name status, headers, body, json
    providers.local.causes.rejected: must be an expression such as json.error.code == 12 (syntax error)
    providers.local.causes.throttled: there is no jsno: it may name status, headers, body, json
    providers.local.receipts.message_id: there is no items: it may name item, query
    providers.local.check.balance: there is no jsn: it may name status, headers, body, json
    ");
    assert!(problems(json!({"url": ""})).contains("providers.local.url: set it"));
}

fn receiving(receipts: serde_json::Value) -> Arc<dyn Provider> {
    let settings = json!({"message_id": "item.id", "attempt": "item.ref", "delivered": "item.state == 'DELIVRD'",
                              "undelivered": "item.state in ['UNDELIV', 'EXPIRED']", "sent": "item.state == 'SENT'",
                              "detail": "item.error"});
    provider(json!({"receipt_secret": SECRET, "receipts": with(settings, receipts)}))
}

fn received(provider: &dyn Provider, query: &str, body: &[u8]) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let url = format!("https://otp.example.com/receipts/local/{SECRET}?{query}");
    provider.receipts(&ReceiptRequest { secret: Some(SECRET), ..receipt(&url, &[], body) })
}

#[test]
fn receipts_are_read_as_json_as_a_form_and_out_of_the_query() {
    let provider = receiving(json!({}));
    let expected = ReceiptEvent {
        message_id: "7".to_owned(),
        attempt: ATTEMPT.parse().ok(),
        status: ReceiptStatus::Undelivered,
        detail: Some("no *** for ***".to_owned()),
    };
    let json = json!({"id": 7, "ref": ATTEMPT, "state": "UNDELIV", "error": "no 482913 for a@b.example"}).to_string();
    let form = format!("id=7&ref={ATTEMPT}&state=EXPIRED&error=no+482913+for+a%40b.example");
    assert_eq!(received(&*provider, "", json.as_bytes()), Ok(vec![expected.clone()]));
    assert_eq!(received(&*provider, "", form.as_bytes()), Ok(vec![expected.clone()]));
    assert_eq!(received(&*provider, &form, b""), Ok(vec![expected]));
    let by_callback = received(&*provider, &format!("attempt={ATTEMPT}"), b"id=7&state=SENT").expect("a receipt");
    assert_eq!((by_callback[0].attempt, by_callback[0].status), (ATTEMPT.parse().ok(), ReceiptStatus::Sent));
    assert_eq!(received(&*provider, "", b"id=7&state=ACCEPTED"), Ok(Vec::new()));
    for bad in [b"{".as_slice(), b"state=SENT", b"", b"\xff", b"[]"] {
        assert_eq!(received(&*provider, "", bad), Err(BadReceipt::Malformed), "{bad:?}");
    }
}

#[test]
fn a_request_may_hold_many_receipts() {
    let provider = receiving(json!({"each": "item.results"}));
    let body = json!({"results": [{"id": "a", "state": "DELIVRD"}, {"state": "SENT"}, {"id": "b", "state": "?"},
                                  {"id": "c", "state": "SENT"}]});
    let events = received(&*provider, "", body.to_string().as_bytes()).expect("receipts");
    let read: Vec<_> = events.iter().map(|event| (event.message_id.as_str(), event.status)).collect();
    assert_eq!(read, [("a", ReceiptStatus::Delivered), ("c", ReceiptStatus::Sent)]);
    assert_eq!(received(&*provider, "", br#"{"results": []}"#), Ok(Vec::new()));
    assert_eq!(received(&*provider, "", br#"{"results": 1}"#), Err(BadReceipt::Malformed));
}

#[test]
fn receipts_need_the_secret_or_the_signature() {
    let body = br#"{"id": "a", "state": "SENT"}"#;
    let url = "https://otp.example.com/receipts/local";
    let by_secret = receiving(json!({}));
    for secret in [None, Some("0123456789abcdeF")] {
        let request = ReceiptRequest { secret, ..receipt(url, &[], body) };
        assert_eq!(by_secret.receipts(&request), Err(BadReceipt::Forged));
    }
    let signed =
        json!({"message_id": "item.id", "sent": "true", "signature_header": "X-Signature", "signature_secret": "k"});
    let signed = provider(json!({"receipts": signed}));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"k");
    let tag = aws_lc_rs::hmac::sign(&key, body);
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, tag.as_ref());
    let hex = encode_hex(tag.as_ref());
    for (signature, fits) in [
        (hex.clone(), true),
        (format!("sha256={hex}"), true),
        (base64, true),
        (hex.replace('a', "b"), false),
        (String::new(), false),
    ] {
        let headers = [("x-signature".to_owned(), signature)];
        assert_eq!(signed.receipts(&receipt(url, &headers, body)).is_ok(), fits, "{headers:?}");
    }
    assert_eq!(signed.receipts(&receipt(url, &[], body)), Err(BadReceipt::Forged));
    assert_eq!(provider(json!({})).receipts(&receipt(url, &[], body)), Err(BadReceipt::NotSupported));
}

/// The page promises them, so they must at least be settings that fit.
#[tokio::test]
async fn the_documented_examples_are_vendors() {
    let page = include_str!("../../../docs/providers.md");
    let section = page.split("\n## http\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let examples: Vec<_> = section.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let text = example.replace("\"…\"", &format!("\"{SECRET}\""));
        let tables = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build().expect("TOML");
        let providers = tables.get("providers").expect("tables");
        let built = build(&providers, &tools()).expect("settings");
        assert!(built.len() == 1 && built[0].has_receipts(), "{example}");
    }
}

#[test]
fn no_receipt_makes_it_panic() {
    let (provider, single) = (receiving(json!({"each": "item.results"})), receiving(json!({})));
    let body = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(query in "\\PC{0,40}", text in "[{\\[]\\PC{0,60}", body in body)| {
        let _ = received(&*provider, &query, &body);
        let _ = received(&*provider, &query, text.as_bytes());
        let _ = received(&*single, &query, &body);
    });
}
