//! The naive API: each request is one statement in a transaction of its own, then one awaited confirm.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::Naive;
use super::queue::Publisher;
use super::secrets::{Secrets, hash};
use super::store::{self, New};
use crate::failure::Outcome;

struct Api {
    pool: PgPool,
    publisher: Publisher,
    secrets: Secrets,
    /// The hash of each project's key.
    keys: HashMap<String, Vec<u8>>,
}

#[derive(Debug, Deserialize)]
struct Send {
    target: String,
    channel: String,
}

#[derive(Debug, Deserialize)]
struct Verify {
    target: String,
    code: String,
}

/// What a handler refuses with.
struct Refused(StatusCode, &'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "statusCode": self.0.as_u16(), "message": self.1 }))).into_response()
    }
}

/// The servers are away, or something is wrong here.
fn broken<E>(_: E) -> Refused {
    Refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
}

pub(super) async fn run(naive: &Naive) -> Outcome {
    let pool = store::pool(&naive.store).await?;
    let keys = store::keys(&pool).await?.into_iter().collect();
    let publisher = Publisher::connect(&naive.queue, &naive.prefix).await?;
    let api = Arc::new(Api { pool, publisher, secrets: Secrets::new()?, keys });
    let router =
        Router::new().route("/api/v1/otp/send", post(send)).route("/api/v1/otp/verify", post(verify)).with_state(api);
    super::serve::serve(router).await
}

impl Api {
    fn project<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Refused> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let refused = || Refused(StatusCode::UNAUTHORIZED, "invalid_api_key");
        let (key, project) = text("x-api-key").zip(text("x-project-id")).ok_or_else(refused)?;
        let is_known = self
            .keys
            .get(project)
            .is_some_and(|known| aws_lc_rs::constant_time::verify_slices_are_equal(known, &hash(&[key])).is_ok());
        if is_known { Ok(project) } else { Err(refused()) }
    }
}

async fn send(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Json(send): Json<Send>,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let project = api.project(&headers)?;
    let is_phone = send
        .target
        .strip_prefix('+')
        .is_some_and(|digits| (8..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()));
    if !is_phone || send.channel != "sms" {
        return Err(Refused(StatusCode::BAD_REQUEST, "invalid_request"));
    }
    let (id, code) = (Uuid::now_v7(), Secrets::code());
    let own_key = id.to_string();
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or(&own_key);
    let new = New {
        id,
        project,
        key,
        request_hash: hash(&[&send.target, &send.channel]),
        target_hash: hash(&[project, &send.target]),
        target: api.secrets.seal(&send.target).map_err(broken)?,
        code_hash: hash(&[project, &send.target, &code]),
        code: api.secrets.seal(&code).map_err(broken)?,
    };
    let accepted = store::accept(&api.pool, &new).await.map_err(broken)?;
    let id = match accepted.replayed {
        Some(_) if accepted.is_same != Some(true) => {
            return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
        }
        Some(first) => first,
        None if !accepted.is_cool => return Err(Refused(StatusCode::TOO_MANY_REQUESTS, "cooldown")),
        None if !accepted.is_paid => return Err(Refused(StatusCode::BAD_REQUEST, "insufficient_tokens")),
        None => {
            api.publisher.publish(id).await.map_err(broken)?;
            id
        }
    };
    let reply = json!({ "message": "OTP generated and queued", "expiresIn": 600, "recordId": id.to_string() });
    Ok((StatusCode::ACCEPTED, Json(reply)))
}

async fn verify(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Json(verify): Json<Verify>,
) -> Result<Json<Value>, Refused> {
    let project = api.project(&headers)?;
    let target = hash(&[project, &verify.target]);
    let code = hash(&[project, &verify.target, &verify.code]);
    let guessed = store::guess(&api.pool, project, &target, &code).await.map_err(broken)?;
    Ok(Json(match guessed {
        Some((id, true)) => json!({ "valid": true, "recordId": id.to_string() }),
        Some((_, false)) => json!({ "valid": false, "reason": "Invalid code" }),
        None => json!({ "valid": false, "reason": "No verification found" }),
    }))
}
