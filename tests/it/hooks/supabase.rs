//! Supabase's door itself: signatures, the order of refusals, and payloads that are not what they should be.

use serde_json::{Value, json};

use super::{
    ANN, EMAIL, NUMBER, OLD_SECRET, SECRET, SMS, STRANGER, call, email, open, records, signed, sms, tokens_used,
};
use crate::harness::client::reply;
use crate::harness::process::run;
use crate::harness::signature::signature;
use crate::harness::{Client, Embedded, Reply};

/// A try whose signatures are by these secrets, joined as Supabase joins them, so many seconds from now.
async fn by(client: &Client, secrets: &[&str], seconds: i64, uuid: &str, number: &str) -> Reply {
    let (now, body) = ((client.clock.now_s() + seconds).to_string(), sms(uuid, number, "001122").to_string());
    let signatures: Vec<_> = secrets.iter().map(|secret| signature(secret, "msg_1", &now, body.as_bytes())).collect();
    signed(client, SMS, ["msg_1", &now, &signatures.join(", ")], body).await
}

#[tokio::test]
async fn any_of_the_secrets_may_have_signed() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    let all: [&[&str]; 4] =
        [&[OLD_SECRET], &[SECRET, STRANGER], &[STRANGER, SECRET], &[STRANGER, OLD_SECRET, STRANGER]];
    for (n, secrets) in all.into_iter().enumerate() {
        by(&client, secrets, 0, &n.to_string(), &format!("+141555526{n}1")).await.expect(200);
    }
    let now = client.clock.now_s().to_string();
    let spaced = [SECRET, STRANGER].map(|secret| signature(secret, "msg_1", &now, b"[]"));
    signed(&client, SMS, ["msg_1", &now, &spaced.join(" ")], "[]".to_owned()).await.expect(400);
    client.hold_time().await;
    by(&client, &[SECRET], -290, "early", "+14155552681").await.expect(200);
    by(&client, &[SECRET], 290, "late", "+14155552682").await.expect(200);
}

#[tokio::test]
async fn what_is_forged_or_old_changes_nothing() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    client.hold_time().await;
    for (secrets, seconds) in [(&[STRANGER][..], 0), (&[], 0), (&[SECRET], -310), (&[SECRET], 310)] {
        let refused = by(&client, secrets, seconds, "u1", NUMBER).await.expect(401);
        assert_eq!(refused.body, json!({ "error": { "http_code": 401, "message": "Invalid signature" } }));
    }
    let (now, body) = (client.clock.now_s().to_string(), sms("u1", NUMBER, "001122").to_string());
    let good = signature(SECRET, "msg_1", &now, body.as_bytes());
    for headers in [["msg_2", &now, &good], ["msg_1", "1", &good], ["msg_1", &now, "v1,AAAA"], ["", &now, &good]] {
        signed(&client, SMS, headers, body.clone()).await.expect(401);
    }
    signed(&client, SMS, ["msg_1", &now, &good], body.replace("001122", "001123")).await.expect(401);
    let bare = client.http.post(client.url(SMS)).header("content-type", "application/json").body(body.clone());
    reply(bare).await.expect(401);
    assert_eq!((records(&client).await, tokens_used(&client).await), (Vec::new(), json!(0)));
    signed(&client, SMS, ["msg_1", &now, &good], body).await.expect(200);
}

#[tokio::test]
async fn without_a_project_the_door_is_closed() {
    let otpd = Embedded::start().await;
    for path in [SMS, EMAIL] {
        let closed = call(&otpd.client(), path, &sms("u1", NUMBER, "001122")).await.expect(404);
        assert_eq!(closed.body["error"]["http_code"], 404);
    }
}

#[tokio::test]
async fn size_type_and_emptiness_come_before_the_signature() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    let unsigned =
        |body: String| client.http.post(client.url(SMS)).header("content-type", "application/json").body(body);
    reply(unsigned("x".repeat(64 * 1024 + 1))).await.expect(413);
    let chunks = futures_util::stream::iter((0..9).map(|_| Ok::<_, std::io::Error>("x".repeat(8 * 1024))));
    let streamed = client.http.post(client.url(SMS)).body(reqwest::Body::wrap_stream(chunks));
    reply(streamed.header("content-type", "application/json")).await.expect(413);
    let empty = reply(unsigned(String::new())).await.expect(400);
    assert_eq!(empty.body, json!({ "error": { "http_code": 400, "message": "Body is required" } }));
    reply(client.http.post(client.url(SMS)).header("content-type", "text/plain").body("{}")).await.expect(415);
    reply(client.http.get(client.url(SMS))).await.expect(405);
    let mut long = sms("u1", NUMBER, "001122");
    long["user"]["user_metadata"]["bio"] = json!("x".repeat(60 * 1024));
    call(&client, SMS, &long).await.expect(200);
}

#[tokio::test]
async fn payloads_that_are_none_are_refused_by_name() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    for (payload, words) in [
        (json!([]), "Body must be a JSON object"),
        (json!({}), "sms is required"),
        (json!({ "sms": "x" }), "sms must be an object"),
        (json!({ "sms": { "phone": "1" } }), "otp is required"),
        (json!({ "sms": { "otp": 1122, "phone": "1" } }), "otp must be a string"),
        (json!({ "sms": { "otp": "12", "phone": "1" } }), "otp must be 4 to 10 digits"),
        (json!({ "sms": { "otp": "1234" } }), "phone is required"),
        (json!({ "sms": { "otp": "1234", "phone": "1", "sms_type": "a:b" } }), "sms_type must be 1 to 64"),
    ] {
        refused(&client, SMS, &payload, words).await;
    }
    for (change, words) in [
        (json!({ "user": null }), "user is required"),
        (json!({ "email_data": { "token": "1234" } }), "email_action_type is required"),
        (json!({ "email_data": { "token": "1234", "email_action_type": "A" } }), "email_action_type must be 1 to 64"),
        (json!({ "email_data": { "token": "x", "email_action_type": "signup" } }), "token must be 4 to 10 digits"),
        (json!({ "user": {} }), "email is required"),
    ] {
        let mut payload = email("u1", "signup", [ANN, ""], ["123456", ""]);
        payload.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        refused(&client, EMAIL, &payload, words).await;
    }
    assert_eq!(records(&client).await, Vec::<Value>::new());
}

async fn refused(client: &Client, path: &str, payload: &Value, words: &str) {
    let refused = call(client, path, payload).await.expect(400);
    let message = refused.body["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with(words), "{message} for {payload}");
}

#[tokio::test]
async fn a_secret_that_is_none_is_told_before_anything_starts() {
    let otpd = Embedded::start().await;
    let mut environment = otpd.environment.clone();
    environment.insert("OTPD_DOORS__SUPABASE__PROJECT".to_owned(), otpd.client().project.id);
    for (secret, expected) in [("v1,whsec_c2hvcnQ=", 78), ("v1,whsec_!", 78), ("", 78), (SECRET, 0)] {
        environment.insert("OTPD_DOORS__SUPABASE__SECRETS".to_owned(), secret.to_owned());
        let (code, _, log) = run(&["config", "check", "--embedded"], &environment);
        assert_eq!(code, expected, "{log}");
        assert!(code == 0 || log.contains("doors.supabase.secrets"), "{log}");
        assert!(secret.is_empty() || !log.contains(secret), "{log}");
    }
}
