//! The v1 door, `/api/v1/otp`: send, verify and cancel for callers with an API key and a project.
//!
//! Errors are `{"statusCode","message","code"}`; nothing that is refused creates or costs anything.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::otp::accept::Accepted;
use common::otp::cancel::Closed;
use common::otp::channel::{Channel, Mode};
use common::otp::guess::{Reason, Verdict};
use common::otp::target::{BadTarget, Strictness, Target};
use common::tenancy::Tenant;

use crate::chain;
use crate::core::Api;
use crate::error::{ApiError, add_standing};
use crate::extract::{Authenticated, JsonBody};
use crate::fields::Fields;
use crate::openapi::v1 as shape;
use crate::send::{self, Origin, Send};
use crate::sessions::{self, Passed};
use crate::verify::{self, Verify};

const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// Send a code
///
/// Answers once the send is committed. A send for the target and `recordId` of an open verification is a resend of it.
#[utoipa::path(
    post,
    path = "/api/v1/otp/send",
    operation_id = "send",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255,
        description = "The same key and request within 24 hours answers the first reply again and sends nothing")),
    request_body = shape::SendRequest,
    responses(
        (status = 202, description = "Accepted", body = shape::Accepted, headers(
            ("Idempotent-Replayed" = bool, description = "`true` when this is the first reply again"),
        )),
        (status = 403, description = "A `code` from a key that may not bring its own", body = shape::V1Error),
        (status = 422, description = "`Idempotency-Key` was used for another request", body = shape::V1Error),
        (status = 429, description = "A limit, which `code` names", body = shape::V1Error),
    ),
)]
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

/// Verify a code
///
/// 200 whether it is right or not. Five wrong guesses lock a verification until it expires.
#[utoipa::path(
    post,
    path = "/api/v1/otp/verify",
    operation_id = "verify",
    request_body = shape::VerifyRequest,
    responses(
        (status = 200, description = "Right or wrong", body = shape::Guessed),
        (status = 429, description = "A limit, which `code` names", body = shape::V1Error),
    ),
)]
pub(crate) async fn verify(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    JsonBody(fields): JsonBody,
) -> Result<Json<shape::Guessed>, ApiError> {
    let target = read_target(&fields)?;
    let (wants_session, wants_proof) = (fields.flag("session")?, fields.flag("proof")?);
    let request = Verify {
        target: target.clone(),
        code: fields.code()?,
        record: fields.record()?,
        client_ip: fields.client_ip()?,
        erase: false,
    };
    match verify::verify(&api, &tenant, request).await? {
        Verdict::Verified { verification, dispatches, at } => {
            let passed = Passed { verification: &verification, dispatches: &dispatches, target: &target };
            let (mut session, mut proof) = (None, None);
            if wants_session {
                session = Some(sessions::open(&api, &tenant, passed).await?.map(Into::into));
            }
            if wants_proof {
                proof = Some(sessions::prove(&api, &tenant, passed).await?);
            }
            let sent_to = chain::sent_to(&api, &tenant, &target, &dispatches).await;
            Ok(Json(shape::Guessed::Right(shape::RightGuess {
                valid: true,
                record_id: verification.id.to_string(),
                verified_at: at.rfc3339(),
                sent_to: sent_to.into_iter().map(Into::into).collect(),
                mode: tenant.is_foreign(verification.mode).then_some("sandbox"),
                session,
                proof,
            })))
        }
        Verdict::Wrong { left, .. } => Ok(Json(wrong("Invalid code", left))),
        Verdict::Refused { reason, .. } => Ok(Json(wrong(reason_text(reason), 0))),
        Verdict::Limited { exhausted, .. } => Err(ApiError::too_many_guesses(exhausted)),
    }
}

/// Cancel a verification
///
/// What has not been sent never is, and the code is good no more.
#[utoipa::path(
    post,
    path = "/api/v1/otp/cancel",
    operation_id = "cancel",
    request_body = shape::CancelRequest,
    responses(
        (status = 200, description = "Canceled, now or before", body = shape::Canceled),
        (status = 404, description = "No such verification", body = shape::V1Error),
    ),
)]
pub(crate) async fn cancel(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    JsonBody(fields): JsonBody,
) -> Result<Json<shape::Canceled>, ApiError> {
    let record = fields.record()?.ok_or_else(|| ApiError::field("recordId is required"))?;
    let (now, modes) = (api.parts.clock.now(), tenant.mode.visible());
    let id = verify::server_id(&record);
    let closed = api.parts.store.cancel(now, tenant.id(), modes, id, &record).await?;
    let (id, reason) = match closed.ok_or_else(|| ApiError::not_found("No verification found"))? {
        Closed::Now(id) => (id, None),
        Closed::Before(id, reason) => (id, Some(reason)),
    };
    Ok(Json(shape::Canceled { canceled: reason.is_none(), record_id: id.to_string(), reason }))
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
    let fallback = chain::read(fields, tenant, channel, &target)?;
    let shortest = if tenant.mode == Mode::Sandbox { 1 } else { 10 };
    Ok(Send {
        record: fields.record()?.unwrap_or_default(),
        locale: fields.locale()?,
        ttl: fields.whole("ttl", shortest, 600)?,
        client_ip: fields.client_ip()?,
        session: wants_session(fields)?,
        origin: origin(tenant, fields)?,
        idempotency_key: idempotency_key(headers)?,
        fallback,
        ..Send::new(target, channel)
    })
}

/// A session is for codes that only the holder of the target can know.
fn wants_session(fields: &Fields) -> Result<bool, ApiError> {
    let wants = fields.flag("session")?;
    if wants && fields.text("code")?.is_some() {
        return Err(ApiError::field("session cannot be asked for with a code of your own: anybody may know that"));
    }
    Ok(wants)
}

/// A code of the caller's own, from a key that may bring one.
fn origin(tenant: &Tenant, fields: &Fields) -> Result<Origin, ApiError> {
    if fields.text("code")?.is_none() {
        return Ok(Origin::Ours);
    }
    if !tenant.own_codes {
        let message = "This key may not bring codes of its own";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "own_codes_not_allowed", message));
    }
    fields.code().map(Origin::Own)
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
    let body = shape::Accepted {
        message: "OTP generated and queued",
        expires_in: accepted.expires_in,
        record_id: accepted.dispatch.verification.to_string(),
    };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    add_standing(response.headers_mut(), accepted.standing);
    if accepted.replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

const fn wrong(reason: &'static str, attempts_left: i16) -> shape::Guessed {
    shape::Guessed::Wrong(shape::WrongGuess { valid: false, reason, attempts_left })
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
