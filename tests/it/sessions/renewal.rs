//! Refresh tokens: each works once, and a spent one ends its session.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{cli, me_with, renew, sandbox_project, signed_in, text};
use crate::harness::{Client, Embedded};

const ANN: &str = "ann@example.com";

/// The chain of tokens, on any store: the client's project is a sandbox one where there is no provider.
async fn a_refresh_token_works_once_and_a_spent_one_ends_its_session(client: Client) {
    let first = text(&signed_in(&client, ANN).await, "refreshToken");
    let renewed = renew(&client, &first).await.expect(200).body;
    let second = text(&renewed, "refreshToken");
    assert_ne!(first, second);
    let third = text(&renew(&client, &second).await.expect(200).body, "refreshToken");
    let reuse = renew(&client, &first).await.expect(401);
    assert_eq!(reuse.body["message"], "Invalid refresh token");
    assert_eq!(reuse.body["code"], "invalid_refresh_token");
    renew(&client, &third).await.expect(401);
}

async fn of_many_who_show_one_token_one_is_served_and_all_are_out(client: Client) {
    let token = text(&signed_in(&client, ANN).await, "refreshToken");
    let replies = join_all((0..20).map(|_| renew(&client, &token))).await;
    let served: Vec<_> = replies.into_iter().filter(|reply| reply.status == 200).collect();
    assert!(served.len() <= 1, "{} were served", served.len());
    for reply in served {
        renew(&client, reply.text("refreshToken")).await.expect(401);
    }
}

macro_rules! on_both_stores {
    ($($scenario:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let otpd = crate::harness::Embedded::start().await;
                    super::$scenario(super::sandbox_project(&otpd)).await;
                }
            )+
        }
        #[cfg(feature = "server-tests")]
        mod distributed {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let otpd = crate::harness::Distributed::start(2, 1).await;
                    let trial = crate::harness::distributed::create_project(&otpd.environment, &["--sandbox", "--unlimited"]);
                    super::$scenario(otpd.client().of(&trial)).await;
                }
            )+
        }
    };
}

on_both_stores!(
    a_refresh_token_works_once_and_a_spent_one_ends_its_session,
    of_many_who_show_one_token_one_is_served_and_all_are_out,
);

#[tokio::test]
async fn a_sandbox_key_of_a_live_project_holds_no_sessions() {
    let otpd = Embedded::start().await;
    let (sandbox, live) = (otpd.client(), otpd.client().live());
    let token = text(&signed_in(&live, ANN).await, "refreshToken");
    assert_eq!(renew(&sandbox, &token).await.expect(401).body["code"], "invalid_refresh_token");
    sandbox.post("/api/v1/session/end", &json!({ "refreshToken": token })).await.expect(401);
    renew(&live, &token).await.expect(200);
}

#[tokio::test]
async fn renewed_tokens_are_of_the_same_user_and_session() {
    let otpd = Embedded::start().await;
    let client = otpd.client().live();
    let session = signed_in(&client, ANN).await;
    otpd.clock.advance(Duration::from_secs(16 * 60));
    me_with(&client, &text(&session, "accessToken")).await.expect(401);
    let renewed = renew(&client, &text(&session, "refreshToken")).await.expect(200).body;
    assert_eq!(renewed["user"], session["user"]);
    me_with(&client, &text(&renewed, "accessToken")).await.expect(200);
}

#[tokio::test]
async fn a_session_that_is_not_renewed_for_thirty_days_is_over() {
    let otpd = Embedded::start().await;
    let client = otpd.client().live();
    let token = text(&signed_in(&client, ANN).await, "refreshToken");
    otpd.clock.advance(Duration::from_secs(29 * 86_400));
    let token = text(&renew(&client, &token).await.expect(200).body, "refreshToken");
    otpd.clock.advance(Duration::from_secs(30 * 86_400));
    renew(&client, &token).await.expect(401);
}

#[tokio::test]
async fn another_projects_key_renews_and_ends_nothing() {
    let otpd = Embedded::start().await;
    let client = otpd.client().live();
    let token = text(&signed_in(&client, ANN).await, "refreshToken");
    let stranger = sandbox_project(&otpd);
    renew(&stranger, &token).await.expect(401);
    let end = json!({ "refreshToken": token });
    stranger.post("/api/v1/session/end", &end).await.expect(401);
    client.post("/api/v1/session/end", &end).await.expect(200);
    renew(&client, &token).await.expect(401);
}

#[tokio::test]
async fn garbage_is_refused_by_name() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    for bad in ["otpd_refresh_AAAA", "x", "eyJhbGciOiJub25lIn0.e30."] {
        renew(&client, bad).await.expect(401);
    }
    let missing = client.post("/api/v1/session/refresh", &json!({})).await.expect(400);
    assert_eq!(missing.body["message"], "refreshToken is required");
    assert_eq!(cli(&otpd, &["session", "keys", "list"]), json!([]), "nobody has signed in");
}
