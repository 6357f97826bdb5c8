//! The keys that sign tokens: rotation in peace and in haste, and what others see of it.

use std::time::Duration;

use serde_json::Value;

use super::{cli, jwks, me_with, part, signed_in, text};
use crate::harness::client::Client;
use crate::harness::{Embedded, eventually};

fn kids(keys: &Value) -> Vec<String> {
    keys["keys"].as_array().expect("keys").iter().map(|key| text(key, "kid")).collect()
}

/// Waits until so many keys are published: what another process changes is seen within two seconds.
async fn published(client: &Client, count: usize) -> Vec<String> {
    eventually(&format!("{count} published keys"), || async {
        Some(kids(&jwks(client).await)).filter(|kids| kids.len() == count)
    })
    .await
}

fn kid(token: &str) -> String {
    text(&part(token, 0), "kid")
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_is_honoured() {
    let otpd = Embedded::start().await;
    let client = otpd.client().live();
    let old = text(&signed_in(&client, "a@example.com").await, "accessToken");
    assert_eq!(published(&client, 1).await, [kid(&old)]);

    cli(&otpd, &["session", "keys", "rotate"]);
    let both = published(&client, 2).await;
    let during = text(&signed_in(&client, "b@example.com").await, "accessToken");
    assert_eq!(kid(&during), kid(&old), "the new one does not sign yet");

    otpd.clock.advance(Duration::from_secs(601));
    let new = eventually("the new key signs", || async {
        let target = format!("{}@example.com", uuid::Uuid::now_v7().simple());
        let token = text(&signed_in(&client, &target).await, "accessToken");
        (kid(&token) != kid(&old)).then_some(token)
    })
    .await;
    assert!(both.contains(&kid(&new)));
    for token in [&old, &during, &new] {
        me_with(&client, token).await.expect(200);
    }

    otpd.clock.advance(Duration::from_secs(20 * 60));
    assert_eq!(published(&client, 1).await, [kid(&new)]);
}

#[tokio::test]
async fn a_compromised_key_is_void_at_once() {
    let otpd = Embedded::start().await;
    let client = otpd.client().live();
    let session = signed_in(&client, "a@example.com").await;
    let old = text(&session, "accessToken");
    cli(&otpd, &["session", "keys", "rotate", "--compromised"]);
    eventually("the old token is refused", || async { (me_with(&client, &old).await.status == 401).then_some(()) })
        .await;
    let renewed = super::renew(&client, &text(&session, "refreshToken")).await.expect(200).body;
    let new = text(&renewed, "accessToken");
    me_with(&client, &new).await.expect(200);
    assert_eq!(kids(&jwks(&client).await), [kid(&new)]);
}

#[tokio::test]
async fn tokens_outlive_a_restart() {
    let mut otpd = Embedded::start().await;
    let session = signed_in(&otpd.client().live(), "a@example.com").await;
    otpd.restart();
    let client = otpd.client();
    me_with(&client, &text(&session, "accessToken")).await.expect(200);
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn what_one_api_signs_all_others_honour() {
    let otpd = crate::harness::Distributed::start(2, 1).await;
    let trial = crate::harness::distributed::create_project(&otpd.environment, &["--sandbox", "--unlimited"]);
    let client = otpd.client().of(&trial);
    let tokens = futures_util::future::join_all(["a@example.com", "b@example.com", "c@example.com"].map(|target| {
        let client = client.clone();
        async move { text(&signed_in(&client, target).await, "accessToken") }
    }))
    .await;
    let verifier = api::sessions::Verifier::new("otpd", &format!("sandbox:{}", trial.id));
    eventually("every key is published everywhere", || async {
        verifier.set_keys(&jwks(&client).await.to_string()).expect("keys");
        tokens.iter().all(|token| verifier.check(token).is_ok()).then_some(())
    })
    .await;
}
