//! Eskiz against a stub: how the token lives, what is sent, what its answers mean, and which receipts are believed.

use proptest::prelude::*;
use serde_json::json;
use tokio::join;
use wiremock::matchers::{body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{ATTEMPT, RETRY_AFTER, receipt, rendered, reply, sms, sms_to, tools, with};

const SECRET: &str = "0123456789abcdef";

fn provider(more: Value) -> Eskiz {
    let settings = json!({"email": "shop@example.uz", "password": "p4ss", "receipt_secret": SECRET});
    let eskiz = read_settings(Settings::new("eskiz", &with(settings, more)), &tools()).expect("settings");
    // No machine is so busy that a stub takes a minute to answer.
    Eskiz { login_timeout: Duration::from_secs(60), ..eskiz }
}

fn at(server: &MockServer) -> Eskiz {
    provider(json!({"base_url": server.uri()}))
}

fn uzbek() -> Message {
    sms_to("+998901234567")
}

fn waiting() -> Value {
    json!({"id": "aaaa-bbbb", "message": "Waiting for SMS provider", "status": "waiting"})
}

/// A vendor whose logins give these tokens one after the other, and that takes what comes under `good`.
async fn vendor(tokens: &[&str], good: &str, answer: (u16, Value)) -> MockServer {
    let server = MockServer::start().await;
    for token in tokens {
        let body = json!({"message": "token_generated", "data": {"token": token}, "token_type": "bearer"});
        Mock::given(path("/api/auth/login"))
            .and(body_string_contains("shop@example.uz"))
            .and(body_string_contains("p4ss"))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    let answer = ResponseTemplate::new(answer.0).set_body_json(answer.1);
    let bearer = format!("Bearer {good}");
    Mock::given(header("authorization", bearer.as_str())).respond_with(answer).mount(&server).await;
    let void = ResponseTemplate::new(401).set_body_json(json!({"message": "Unauthenticated."}));
    Mock::given(method("POST")).respond_with(void.clone()).mount(&server).await;
    Mock::given(method("GET")).respond_with(void).mount(&server).await;
    server
}

async fn paths(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.expect("requests");
    requests.iter().map(|request| request.url.path().trim_start_matches("/api").to_owned()).collect()
}

/// A form of several parts, whose boundary is drawn by lot.
fn shown(request: &wiremock::Request) -> String {
    let kind = request.headers["content-type"].to_str().expect("text");
    let (_, boundary) = kind.split_once("boundary=").expect("a boundary");
    rendered(request).replace(boundary, "(boundary)").replace('\r', "")
}

#[tokio::test]
async fn a_login_and_a_message_are_forms() {
    let server = vendor(&["t1"], "t1", (200, waiting())).await;
    let handed = at(&server).send(&uzbek()).await.expect("accepted");
    assert_eq!(handed, Handed { message_id: Some("aaaa-bbbb".to_owned()), delivered: false });
    let requests = server.received_requests().await.expect("requests");
    insta::assert_snapshot!(shown(&requests[0]), @r#"
    POST /api/auth/login
    content-type: multipart/form-data; boundary=(boundary)
    accept: */*
    user-agent: otpd/0.1.0

    --(boundary)
    Content-Disposition: form-data; name="email"

    shop@example.uz
    --(boundary)
    Content-Disposition: form-data; name="password"

    p4ss
    --(boundary)--
    "#);
    insta::assert_snapshot!(shown(&requests[1]), @r#"
    POST /api/message/sms/send
    content-type: multipart/form-data; boundary=(boundary)
    authorization: Bearer t1
    accept: */*
    user-agent: otpd/0.1.0

    --(boundary)
    Content-Disposition: form-data; name="mobile_phone"

    998901234567
    --(boundary)
    Content-Disposition: form-data; name="message"

    Your code is 482913
    --(boundary)
    Content-Disposition: form-data; name="from"

    4546
    --(boundary)
    Content-Disposition: form-data; name="callback_url"

    https://otp.example.com/receipts/x?attempt=01980283-4d40-7000-8000-00000000002a:1:1
    --(boundary)--
    "#);
}

#[tokio::test]
async fn no_receipts_are_asked_for_that_could_not_be_checked() {
    let server = vendor(&["t1"], "t1", (200, waiting())).await;
    assert!(provider(json!({"base_url": server.uri(), "receipt_secret": ""})).send(&uzbek()).await.is_ok());
    assert!(!shown(&server.received_requests().await.expect("requests")[1]).contains("callback_url"));
}

#[tokio::test]
async fn one_login_serves_many_messages() {
    let server = vendor(&["t1"], "t1", (200, waiting())).await;
    let (provider, message) = (at(&server), uzbek());
    let (one, two, three) = join!(provider.send(&message), provider.send(&message), provider.send(&message));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(paths(&server).await.iter().filter(|path| *path == "/auth/login").count(), 1);
}

#[tokio::test]
async fn a_void_token_is_renewed_once() {
    let server = vendor(&["old", "new"], "new", (200, waiting())).await;
    let provider = at(&server);
    assert!(provider.send(&uzbek()).await.is_ok() && provider.send(&uzbek()).await.is_ok());
    let send = "/message/sms/send";
    assert_eq!(paths(&server).await, ["/auth/login", send, "/auth/login", send, send]);

    let server = vendor(&["old", "older"], "new", (200, waiting())).await;
    let failed = at(&server).send(&uzbek()).await.expect_err("no token is good");
    assert_eq!(failed.cause, Cause::Misconfigured(Misconfiguration::Credentials));
    assert_eq!(paths(&server).await, ["/auth/login", send, "/auth/login", send]);
}

#[tokio::test]
async fn without_a_login_nothing_has_left() {
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).send(&uzbek()).await.expect_err("away");
    assert_eq!(away.cause, Cause::Unavailable);
}

#[tokio::test]
async fn a_slow_login_is_not_waited_for() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    Mock::given(path("/api/auth/login")).respond_with(slow).mount(&server).await;
    let hurried = Eskiz { login_timeout: Duration::from_millis(50), ..at(&server) };
    let slow = hurried.send(&uzbek()).await.expect_err("too slow");
    assert_eq!(slow.cause, Cause::Unavailable, "{}", slow.detail);
}

#[track_caller]
fn check(status: u16, body: &Value, expected: &Cause) {
    assert_eq!(&read(&reply(status, body)).expect_err("a failure").0, expected, "{status} {body}");
}

#[test]
fn every_known_refusal_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    let said = |words: &str| json!({"status": "error", "message": words});
    let field = |field: &str| json!({"message": "The given data was invalid.", "errors": {field: ["no"]}});
    check(401, &said("Unauthenticated."), &Cause::Misconfigured(Credentials));
    check(403, &said("Forbidden"), &Cause::Misconfigured(Credentials));
    for words in ["Insufficient balance", "Недостаточно средств на балансе", "Balansda mablag' yetarli emas"]
    {
        check(400, &said(words), &Cause::Misconfigured(Balance));
    }
    check(402, &said(""), &Cause::Misconfigured(Balance));
    for words in [
        "Для теста можно отправлять только: Это тест от Eskiz",
        "This template is not approved",
        "Текст на модерации",
        "Shablon topilmadi",
        "Nick not found",
    ] {
        check(400, &said(words), &Cause::Misconfigured(Sender));
    }
    check(422, &field("from"), &Cause::Misconfigured(Sender));
    check(422, &field("mobile_phone"), &Cause::Rejected);
    check(400, &said("Неверный номер телефона"), &Cause::Rejected);
    check(429, &said("Too Many Attempts."), &Cause::Throttled { retry_after: Some(RETRY_AFTER) });
    check(500, &said("Server Error"), &Cause::Unavailable);
    for (status, body) in
        [(400, said("no")), (404, said("")), (422, field("message")), (200, said("no")), (302, json!(1))]
    {
        check(status, &body, &Cause::Misconfigured(Endpoint));
    }
}

#[test]
fn escaped_words_are_read_too() {
    let escaped = r#"{"message": "\u0428\u0430\u0431\u043b\u043e\u043d"}"#;
    let failed = read(&reply(400, escaped)).expect_err("a failure");
    assert_eq!(failed.0, Cause::Misconfigured(Misconfiguration::Sender));
}

#[test]
fn every_refusal_of_a_login_has_its_cause() {
    use Misconfiguration::{Credentials, Endpoint};
    for (status, expected) in [
        (400, Cause::Misconfigured(Credentials)),
        (401, Cause::Misconfigured(Credentials)),
        (403, Cause::Misconfigured(Credentials)),
        (422, Cause::Misconfigured(Credentials)),
        (429, Cause::Throttled { retry_after: Some(RETRY_AFTER) }),
        (503, Cause::Unavailable),
        (200, Cause::Misconfigured(Endpoint)),
        (404, Cause::Misconfigured(Endpoint)),
    ] {
        assert_eq!(login_cause(&reply(status, "")), expected, "{status}");
    }
}

#[test]
fn only_a_message_is_success() {
    let broken = Reply { whole: false, ..reply(200, "{\"id") };
    assert_eq!(read(&broken).expect_err("unknown").0, Cause::Ambiguous);
    let id = |body: &str| read(&reply(200, body)).map(|handed| handed.message_id);
    assert_eq!(id(r#"{"id": 12}"#), Ok(Some("12".to_owned())));
    for body in ["<html>", "{}", r#"{"id": null}"#, r#"{"id": "x", "status": "error"}"#] {
        assert!(id(body).is_err(), "{body}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_words_but_not_the_message() {
    let body = json!({"message": "998901234567 cannot get 482913"});
    let server = vendor(&["t1"], "t1", (400, body)).await;
    let failed = at(&server).send(&uzbek()).await.expect_err("a failure");
    assert_eq!(failed.detail, r#"400: {"message":"*** cannot get ***"}"#);
    let abroad = at(&server).send(&sms()).await.expect_err("abroad");
    assert_eq!((abroad.cause, abroad.detail.contains("Uzbekistan")), (Cause::Unavailable, true));
}

#[tokio::test]
async fn a_check_tells_login_and_money_apart() {
    let checked = async |answer| at(&vendor(&["t1"], "t1", answer).await).check().await;
    let money = |balance: Value| (200, json!({"status": "success", "data": {"balance": balance}, "id": null}));
    let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
    assert_eq!(checked(money(json!(12500))).await, Check { balance: Some("12500".to_owned()), ..fine.clone() });
    assert_eq!(checked(money(json!("9.5"))).await, Check { balance: Some("9.5".to_owned()), ..fine });
    assert_eq!(checked(money(json!(0))).await.problem.expect("problem").0, Misconfiguration::Balance);
    let stranger = at(&vendor(&[], "t1", money(json!(1))).await).check().await;
    assert_eq!(stranger.credentials, Some(false));
    assert_eq!(stranger.problem.expect("problem").0, Misconfiguration::Credentials);
    let away = provider(json!({"base_url": "http://127.0.0.1:9"})).check().await;
    assert_eq!(away, Check { reachable: Some(false), ..Check::default() });
}

fn received(provider: &dyn Provider, secret: Option<&str>, body: &[u8]) -> Result<Vec<ReceiptEvent>, BadReceipt> {
    let url = format!("https://otp.example.com/receipts/eskiz/{SECRET}?attempt={ATTEMPT}");
    provider.receipts(&ReceiptRequest { secret, ..receipt(&url, &[], body) })
}

fn status(status: &str) -> Value {
    json!({"request_id": "aaaa-bbbb", "message_id": "4385062", "country": "UZ", "phone_number": "998901234567",
           "sms_count": "1", "status": status, "status_date": "2021-04-02 00:39:36"})
}

#[test]
fn statuses_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    let provider = provider(json!({}));
    for (said, expected) in [
        ("NEW", None),
        ("STORED", None),
        ("WAITING", None),
        ("ACCEPTED", Some(Sent)),
        ("ENROUTE", Some(Sent)),
        ("TRANSMTD", Some(Sent)),
        ("DELIVRD", Some(Delivered)),
        ("DELIVERED", Some(Delivered)),
        ("PARTDELIVERED", Some(Delivered)),
        ("UNDELIV", Some(Undelivered)),
        ("UNDELIVERABLE", Some(Undelivered)),
        ("EXPIRED", Some(Undelivered)),
        ("REJECTD", Some(Undelivered)),
        ("REJECTED", Some(Undelivered)),
        ("DELETED", Some(Undelivered)),
        ("UNKNOWN", None),
    ] {
        let json = received(&provider, Some(SECRET), status(said).to_string().as_bytes()).expect("a receipt");
        let form = format!("request_id=aaaa-bbbb&phone_number=998901234567&status={said}");
        assert_eq!(received(&provider, Some(SECRET), form.as_bytes()), Ok(json.clone()), "{said}");
        let detail = (expected == Some(Undelivered)).then(|| said.to_owned());
        let event = |status| ReceiptEvent {
            message_id: "aaaa-bbbb".to_owned(),
            attempt: ATTEMPT.parse().ok(),
            status,
            detail: detail.clone(),
        };
        assert_eq!(json, expected.map(event).into_iter().collect::<Vec<_>>(), "{said}");
    }
}

#[test]
fn receipts_at_another_address_are_not_believed() {
    let (with, without) = (provider(json!({})), provider(json!({"receipt_secret": ""})));
    let good = status("DELIVRD").to_string();
    for secret in [None, Some(""), Some("0123456789abcdeF")] {
        assert_eq!(received(&with, secret, good.as_bytes()), Err(BadReceipt::Forged), "{secret:?}");
    }
    assert_eq!(received(&without, Some(SECRET), good.as_bytes()), Err(BadReceipt::NotSupported));
    for bad in ["", "{}", "[]", "request_id=1", "status=DELIVRD", "request_id=&status=DELIVRD"] {
        assert_eq!(received(&with, Some(SECRET), bad.as_bytes()), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}", provider(json!({})));
    assert!(!shown.contains("p4ss") && !shown.contains(SECRET) && !shown.contains("shop@"), "{shown}");
}

#[test]
fn no_body_makes_it_panic() {
    let provider = provider(json!({}));
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(code in 100_u16..600, body in bytes, text in "\\PC{0,100}")| {
        let _ = received(&provider, Some(SECRET), &body);
        let _ = received(&provider, Some(SECRET), status(&text).to_string().as_bytes());
        let _ = read(&reply(code, &json!({"id": text, "status": text, "message": text})));
        let _ = read(&Reply { body, ..reply(code, "") });
    });
}
