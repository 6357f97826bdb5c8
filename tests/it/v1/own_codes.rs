//! Codes of the caller's own: for keys that may bring them, checked here like any other.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::reply;
use crate::harness::process::run;
use crate::harness::{Client, Embedded, Reply};

const ANN: &str = "ann@example.com";
/// Long enough to be found nowhere by chance.
const CODE: &str = "0846291573";
const NULL: Option<&Value> = Some(&Value::Null);

/// A caller with a sandbox key that may bring codes.
fn bringer(otpd: &Embedded) -> Client {
    with_key(otpd, &["--own-codes", "--sandbox"])
}

fn with_key(otpd: &Embedded, flags: &[&str]) -> Client {
    let client = otpd.client();
    let (project, data) = (client.project.id.clone(), otpd.data());
    let create = [&["key", "create", "--project", &project, "--json", "--data", &data], flags].concat();
    let (code, stdout, log) = run(&create, &otpd.environment);
    assert_eq!(code, 0, "{log}");
    let made: Value = serde_json::from_str(&stdout).expect("JSON");
    client.with_key(made["key"].as_str().expect("a key"))
}

fn own(code: &str) -> Value {
    json!({ "target": ANN, "channel": "email", "code": code })
}

async fn send(client: &Client, code: &str) -> String {
    client.send(&own(code)).await.expect(202).text("recordId").to_owned()
}

#[tokio::test]
async fn it_is_delivered_as_it_was_given_and_verified_here() {
    let otpd = Embedded::start().await;
    let client = bringer(&otpd);
    let id = send(&client, "000123").await;
    assert_eq!(client.code(ANN).await, "000123");
    assert_eq!(client.verify(ANN, "123").await.expect(400).body["code"], "invalid_request");
    let right = client.verify(ANN, "000123").await.expect(200).body;
    assert_eq!((&right["valid"], &right["recordId"]), (&json!(true), &json!(id)));
    assert_eq!(client.verify(ANN, "000123").await.body["reason"], "Code already used");
    let stats = client.get("/api/v1/otp/stats").await.body;
    assert_eq!((&stats["total"], &stats["verified"], &stats["relayed"]), (&json!(1), &json!(1), &json!(0)));
}

#[tokio::test]
async fn a_key_without_the_right_is_forbidden_to_bring_one() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    for key in [&client, &client.live()] {
        let refused = key.send(&own("000123")).await.expect(403);
        assert_eq!((refused.text("code"), &refused.body["statusCode"]), ("own_codes_not_allowed", &json!(403)));
    }
    assert_eq!(client.live().get("/api/v1/otp/records").await.body["records"], json!([]));
    client.send(&json!({ "target": ANN, "channel": "email", "code": null })).await.expect(202);
}

#[tokio::test]
async fn what_is_no_code_is_refused() {
    let otpd = Embedded::start().await;
    let client = bringer(&otpd);
    for code in [json!(""), json!("123"), json!("12345678901"), json!("12a456"), json!("١٢٣٤٥٦"), json!(123_456)]
    {
        let refused = client.send(&json!({ "target": ANN, "channel": "email", "code": code })).await.expect(400);
        assert!(refused.text("message").starts_with("code "), "{}", refused.body);
    }
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 0);
}

#[tokio::test]
async fn it_always_supersedes_and_carries_the_guesses_over() {
    let otpd = Embedded::start().await;
    let client = bringer(&otpd);
    let first = send(&client, "000111").await;
    for left in [4, 3] {
        assert_eq!(client.verify(ANN, "999999").await.body["attemptsLeft"], left);
    }
    client.clock.advance(Duration::from_secs(31));
    let second = send(&client, "000111").await;
    assert_ne!(first, second, "the same code again is another one");
    assert_eq!(client.record(&first).await["state"], "superseded");
    client.clock.advance(Duration::from_secs(31));
    let third = send(&client, "000222").await;
    let wrong = client.verify(ANN, "000111").await.body;
    assert_eq!(wrong, json!({ "valid": false, "reason": "Invalid code", "attemptsLeft": 2 }));
    assert_eq!(client.verify(ANN, "000222").await.body["recordId"], third.as_str());
}

#[tokio::test]
async fn it_supersedes_a_code_of_ours() {
    let otpd = Embedded::start().await;
    let client = bringer(&otpd);
    let ours = client.send_to(ANN).await;
    client.clock.advance(Duration::from_secs(31));
    let own = send(&client, CODE).await;
    assert_eq!(client.record(&ours).await["state"], "superseded");
    assert_eq!(client.verify(ANN, CODE).await.body["recordId"], own.as_str());
}

async fn keyed(client: &Client, key: &str, code: &str) -> Reply {
    let request = client.request(Method::POST, "/api/v1/otp/send").header("idempotency-key", key);
    reply(request.json(&own(code))).await
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_reply() {
    let otpd = Embedded::start().await;
    let client = bringer(&otpd);
    let first = keyed(&client, "k1", "000123").await.expect(202);
    let again = keyed(&client, "k1", " 000123 ").await.expect(202);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, Some("true")));
    assert_eq!(keyed(&client, "k1", "000124").await.expect(422).body["code"], "idempotency_key_reused");
    client.code(ANN).await;
    assert_eq!(client.messages(ANN).await.len(), 1);
}

/// Else a key that may bring codes could be anybody.
#[tokio::test]
async fn it_opens_no_session_and_proves_nothing() {
    let otpd = Embedded::start().await;
    let client = with_key(&otpd, &["--own-codes"]);
    let wanted = json!({ "target": ANN, "channel": "email", "code": CODE, "session": true });
    let refused = client.send(&wanted).await.expect(400);
    assert!(refused.text("message").starts_with("session "), "{}", refused.body);
    send(&client, CODE).await;
    let guess = json!({ "target": ANN, "code": CODE, "session": true, "proof": true });
    // Whichever key it is that asks.
    for asks in [&client, &otpd.client().live()] {
        let right = asks.post("/api/v1/otp/verify", &guess).await.expect(200).body;
        assert_eq!((&right["valid"], right.get("session"), right.get("proof")), (&json!(true), NULL, NULL), "{right}");
        client.clock.advance(Duration::from_secs(31));
        send(&client, CODE).await;
    }
}

#[tokio::test]
async fn no_log_has_it() {
    let otpd = Embedded::start_with(&[("OTPD_LOG__LEVEL", "debug"), ("OTPD_LOG__SAMPLE", "1")]).await;
    let client = bringer(&otpd);
    send(&client, CODE).await;
    client.send(&own(CODE)).await.expect(429);
    otpd.client().send(&own(CODE)).await.expect(403);
    client.code(ANN).await;
    client.verify(ANN, "999999").await;
    assert_eq!(client.verify(ANN, CODE).await.body["valid"], true);
    otpd.process.says("request").await;
    let log = otpd.process.log_text();
    assert!(!log.contains(CODE), "{log}");
}
