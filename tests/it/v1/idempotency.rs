//! `Idempotency-Key`: the same request again answers the first reply and sends nothing.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::both_ways;
use crate::harness::client::reply;
use crate::harness::{Client, Reply};

both_ways!(
    a_repeated_request_gets_the_first_reply,
    of_many_at_once_one_is_sent,
    the_same_key_with_another_body_is_refused,
    keys_are_forgotten_after_a_day,
    only_accepted_sends_are_remembered,
);

async fn send(client: &Client, key: &str, body: &Value) -> Reply {
    reply(client.request(Method::POST, "/api/v1/otp/send").header("idempotency-key", key).json(body)).await
}

fn ann() -> Value {
    json!({ "target": "ann@example.com", "channel": "email" })
}

async fn a_repeated_request_gets_the_first_reply(client: Client) {
    let first = send(&client, "k1", &ann()).await.expect(202);
    assert_eq!(first.header("idempotent-replayed"), None);
    let spelled = json!({ "channel": "email", "target": " ANN@example.com", "unknown": 1 });
    let again = send(&client, "k1", &spelled).await.expect(202);
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    client.code("ann@example.com").await;
    assert_eq!(client.messages("ann@example.com").await.len(), 1);
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 1);
}

async fn of_many_at_once_one_is_sent(client: Client) {
    let body = ann();
    let replies = join_all((0..50).map(|_| send(&client, "k1", &body))).await;
    let first = &replies[0].body;
    assert!(replies.iter().all(|reply| reply.status == 202 && reply.body == *first));
    let originals = replies.iter().filter(|reply| reply.header("idempotent-replayed").is_none()).count();
    assert_eq!(originals, 1);
}

async fn the_same_key_with_another_body_is_refused(client: Client) {
    send(&client, "k1", &ann()).await.expect(202);
    let other = json!({ "target": "bob@example.com", "channel": "email" });
    let refused = send(&client, "k1", &other).await.expect(422);
    assert_eq!(refused.body["code"], "idempotency_key_reused");
    let live = send(&client, "k2", &other).await.expect(202);
    assert_eq!(live.header("idempotent-replayed"), None);
    let long = "k".repeat(256);
    assert_eq!(send(&client, &long, &other).await.expect(400).body["code"], "invalid_request");
}

async fn keys_are_forgotten_after_a_day(client: Client) {
    let first = send(&client, "k1", &ann()).await.expect(202);
    client.clock.advance(Duration::from_secs(24 * 3600 + 60));
    let second = send(&client, "k1", &ann()).await.expect(202);
    assert_ne!(first.body["recordId"], second.body["recordId"]);
}

async fn only_accepted_sends_are_remembered(client: Client) {
    client.send_to("ann@example.com").await;
    send(&client, "k1", &ann()).await.expect(429);
    client.clock.advance(Duration::from_secs(31));
    assert_eq!(send(&client, "k1", &ann()).await.expect(202).header("idempotent-replayed"), None);
}
