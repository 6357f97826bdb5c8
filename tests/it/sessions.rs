//! Sessions through the running program: tokens, renewal, proofs, and the keys that sign them.

mod keys;
mod renewal;
mod tokens;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::client::{Reply, reply};
use crate::harness::process::run;
use crate::harness::{Client, Embedded, eventually};

/// Runs a command on the data of an embedded program; its JSON.
fn cli(otpd: &Embedded, arguments: &[&str]) -> Value {
    let data = otpd.data();
    let (code, stdout, log) = run(&[arguments, &["--json", "--data", &data]].concat(), &otpd.environment);
    assert_eq!(code, 0, "{log}");
    serde_json::from_str(&stdout).expect("JSON")
}

/// A sandbox project beside the development project.
fn sandbox_project(otpd: &Embedded) -> Client {
    let made = cli(otpd, &["project", "create", "Trial", "--sandbox", "--unlimited"]);
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let project = crate::harness::client::Project {
        id: text("project_id"),
        live_key: text("live_key"),
        sandbox_key: text("sandbox_key"),
    };
    otpd.client().of(&project)
}

/// Sends with `session` and verifies with `ask`; the reply.
async fn verified(client: &Client, target: &str, session: bool, ask: &Value) -> Value {
    let channel = if target.contains('@') { "email" } else { "sms" };
    let before = client.messages(target).await.len();
    client.send(&json!({ "target": target, "channel": channel, "session": session })).await.expect(202);
    let code = eventually("the message of this send", || async {
        let messages = client.messages(target).await;
        (messages.len() > before).then(|| text(&messages[0], "code"))
    });
    let mut guess = json!({ "target": target, "code": code.await });
    guess.as_object_mut().expect("an object").extend(ask.as_object().expect("an object").clone());
    let body = client.post("/api/v1/otp/verify", &guess).await.expect(200).body;
    assert_eq!(body["valid"], true, "{body}");
    body
}

/// The tokens of somebody who has just signed in.
async fn signed_in(client: &Client, target: &str) -> Value {
    let session = verified(client, target, true, &json!({ "session": true })).await["session"].clone();
    assert!(session.is_object(), "{session}");
    session
}

async fn renew(client: &Client, token: &str) -> Reply {
    client.post("/api/v1/session/refresh", &json!({ "refreshToken": token })).await
}

/// `GET /api/me` with this header, if any.
async fn me(client: &Client, authorization: Option<&str>) -> Reply {
    let mut request = client.http.get(client.url("/api/me"));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    reply(request).await
}

async fn me_with(client: &Client, token: &str) -> Reply {
    me(client, Some(&format!("Bearer {token}"))).await
}

/// A part of a token, unchecked: 0 is the header, 1 the claims.
fn part(token: &str, number: usize) -> Value {
    let text = token.split('.').nth(number).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

async fn jwks(client: &Client) -> Value {
    let served = reply(client.http.get(client.url("/.well-known/jwks.json"))).await.expect(200);
    assert_eq!(served.header("access-control-allow-origin"), Some("*"));
    assert_eq!(served.header("cache-control"), Some("public, max-age=300"));
    served.body
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}
