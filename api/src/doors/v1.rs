//! The v1 door, `/api/v1/otp`: send, verify and cancel for callers with an API key and a project.
//!
//! Errors are `{"statusCode","message","code"}`; nothing that is refused creates or costs anything.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::otp::accept::Accepted;
use common::otp::cancel::Canceled;
use common::otp::channel::{Channel, Mode};
use common::otp::guess::{Reason, Verdict};
use common::otp::target::{BadTarget, Strictness, Target};
use common::tenancy::Tenant;
use serde_json::{Value, json};

use crate::core::Api;
use crate::error::{ApiError, add_standing};
use crate::extract::{Authenticated, JsonBody};
use crate::fields::Fields;
use crate::send::{self, Send};
use crate::verify::{self, Verify};

const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// `POST /api/v1/otp/send`: 202 once the send is committed.
pub(crate) async fn send(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    headers: HeaderMap,
    JsonBody(fields): JsonBody,
) -> Result<Response, ApiError> {
    let request = read_send(&tenant, &headers, &fields)?;
    let accepted = send::send(&api, &tenant, request).await?;
    Ok(accepted_reply(&accepted))
}

/// `POST /api/v1/otp/verify`: 200 whether the code is right or not.
pub(crate) async fn verify(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    JsonBody(fields): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let request = Verify {
        target: read_target(&fields)?,
        code: fields.code()?,
        record: fields.record()?,
        client_ip: fields.client_ip()?,
    };
    match verify::verify(&api, &tenant, request).await? {
        Verdict::Verified { verification, at } => {
            let record = verification.id.to_string();
            let mut reply = json!({ "valid": true, "recordId": record, "verifiedAt": at.rfc3339() });
            if verification.mode == Mode::Sandbox && tenant.mode == Mode::Live {
                reply["mode"] = Value::from("sandbox");
            }
            Ok(Json(reply))
        }
        Verdict::Wrong { left, .. } => {
            Ok(Json(json!({ "valid": false, "reason": "Invalid code", "attemptsLeft": left })))
        }
        Verdict::Refused { reason, .. } => {
            Ok(Json(json!({ "valid": false, "reason": reason_text(reason), "attemptsLeft": 0 })))
        }
        Verdict::Limited { exhausted, .. } => {
            Err(ApiError::limited("guesses_limited", exhausted.retry_after, Some(exhausted.standing)))
        }
    }
}

/// `POST /api/v1/otp/cancel`: what has not been sent never is, and the code is good no more.
pub(crate) async fn cancel(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    JsonBody(fields): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let record = fields.record()?.ok_or_else(|| ApiError::field("recordId is required"))?;
    let (now, modes) = (api.parts.clock.now(), tenant.mode.visible());
    let id = verify::server_id(&record);
    match api.parts.store.cancel(now, tenant.id(), modes, id, &record).await? {
        Some(Canceled::Now(id)) => Ok(Json(json!({ "canceled": true, "recordId": id.to_string() }))),
        Some(Canceled::Closed(id, reason)) => {
            Ok(Json(json!({ "canceled": false, "recordId": id.to_string(), "reason": reason })))
        }
        None => Err(ApiError::not_found("No verification found")),
    }
}

fn read_send(tenant: &Tenant, headers: &HeaderMap, fields: &Fields) -> Result<Send, ApiError> {
    let channel: Channel = fields
        .required_text("channel")?
        .parse()
        .map_err(|_| ApiError::field("channel must be one of sms, email, whatsapp"))?;
    let text = fields.required_text("target")?;
    let country = fields.country_code()?;
    let strictness = Strictness::Valid { magic: tenant.mode == Mode::Sandbox };
    let target = Target::parse(channel, text, country.as_deref(), strictness)
        .map_err(|problem| bad_target(problem, Some(channel)))?;
    if tenant.mode == Mode::Live && target.is_magic() {
        return Err(bad_target(BadTarget::MagicInLive, Some(channel)));
    }
    let shortest = if tenant.mode == Mode::Sandbox { 1 } else { 10 };
    Ok(Send {
        target,
        channel,
        record: fields.record()?.unwrap_or_default(),
        locale: fields.locale()?,
        ttl: fields.whole("ttl", shortest, 600)?,
        client_ip: fields.client_ip()?,
        idempotency_key: idempotency_key(headers)?,
    })
}

fn read_target(fields: &Fields) -> Result<Target, ApiError> {
    let country = fields.country_code()?;
    Target::guess(fields.required_text("target")?, country.as_deref()).map_err(|problem| bad_target(problem, None))
}

fn bad_target(problem: BadTarget, channel: Option<Channel>) -> ApiError {
    match (problem, channel) {
        (BadTarget::CountryCodeMissing, Some(channel)) => {
            let name = if channel == Channel::Sms { "SMS" } else { "WhatsApp" };
            let message = format!("Country code is required for {name} channel");
            ApiError::new(StatusCode::BAD_REQUEST, "country_code_required", message)
        }
        (BadTarget::CountryCodeMissing, None) => {
            ApiError::new(StatusCode::BAD_REQUEST, "country_code_required", "Country code is required")
        }
        (problem, _) => ApiError::field(problem.to_string()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_IDEMPOTENCY_KEY).contains(&key.len()));
    let problem = || ApiError::field("Idempotency-Key must be 1 to 255 printable ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(problem)
}

fn accepted_reply(accepted: &Accepted) -> Response {
    let body = json!({
        "message": "OTP generated and queued",
        "expiresIn": accepted.expires_in,
        "recordId": accepted.dispatch.verification.to_string(),
    });
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    add_standing(response.headers_mut(), accepted.standing);
    if accepted.replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

const fn reason_text(reason: Reason) -> &'static str {
    match reason {
        Reason::Expired => "Code has expired",
        Reason::Used => "Code already used",
        Reason::TooMany => "Too many attempts",
        Reason::Canceled => "Verification canceled",
        Reason::NotFound => "No verification found",
    }
}
