//! Eskiz, by an unofficial transcription of its documentation: the login, messages, and their replies.

use std::sync::Arc;

use common::otp::channel::Channel;
use providers::Provider;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::operation::Reply;
use crate::rig::{also_answering, answering, message, outcome, provider};
use crate::specs::Spec;

const LOGIN: &str = "/api/auth/login";
const SEND: &str = "/api/message/sms/send";

fn adapter(url: &str) -> Arc<dyn Provider> {
    let settings = json!({"email": "shop@example.uz", "password": "p", "receipt_secret": "0123456789abcdef"});
    let mut settings = settings;
    settings["base_url"] = url.into();
    provider("eskiz", settings, None)
}

fn only(mut replies: Vec<Reply>) -> Reply {
    assert_eq!(replies.len(), 1);
    replies.remove(0)
}

#[tokio::test]
async fn the_login_and_messages_are_as_documented() {
    let Some(spec) = Spec::load("eskiz.json") else { return };
    let (login, send) = (spec.operation("post", LOGIN), spec.operation("post", SEND));
    let (token, taken) = (only(login.replies()), only(send.replies()));
    let server = answering(ResponseTemplate::new(taken.status).set_body_json(&taken.body)).await;
    also_answering(&server, LOGIN, &token.body).await;
    let outcome = outcome(&*adapter(&server.uri()), &message(Channel::Sms, "+998901234567")).await;
    assert_eq!(outcome, format!("taken as {}", taken.body["id"].as_str().expect("an id")));
    let requests = server.received_requests().await.expect("requests");
    login.admit(&requests[0], &[]);
    send.admit(&requests[1], &[]);
    let token = token.body["data"]["token"].as_str().expect("a token");
    assert_eq!(requests[1].headers["authorization"], format!("Bearer {token}"));
}

#[tokio::test]
async fn the_balance_is_understood() {
    let Some(spec) = Spec::load("eskiz.json") else { return };
    let (login, limit) = (spec.operation("post", LOGIN), spec.operation("get", "/api/user/get-limit"));
    let server = answering(ResponseTemplate::new(200).set_body_json(only(limit.replies()).body)).await;
    also_answering(&server, LOGIN, &only(login.replies()).body).await;
    let check = adapter(&server.uri()).check().await;
    assert_eq!((check.credentials, check.balance.as_deref()), (Some(true), Some("0")));
}
