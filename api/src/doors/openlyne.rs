//! The openlyne door, `/send-otp` and `/verify-otp`, and the same under `/webhook`: a code for a user's id, which brings
//! back the number it went to. Its key is `x-api-key` alone.
//!
//! Six digits, three minutes, 30 s between two sends for one `uid`, and one open code for each. Success erases number and
//! code. Refusals are `{"success":false,"data":null,"message","error":{"code"}}`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::keys::IndexKind;
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::guess::{Reason, Verdict, Wanted};
use common::otp::rows::{State as RowState, Verification};
use common::otp::target::{Strictness, Target};
use common::tenancy::Tenant;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chain;
use crate::core::Api;
use crate::error::{ApiError, standing};
use crate::extract::{JsonBody, Keyed};
use crate::fields::Fields;
use crate::openapi::openlyne as shape;
use crate::send::{self, Send};
use crate::verify::{self, Verify};

const DIGITS: u8 = 6;
const LIFE: u32 = 180;

type Reply<T> = Result<Json<T>, ApiError>;
type Sending = Result<(HeaderMap, Json<shape::Sent>), ApiError>;

/// Send a code for a user
#[utoipa::path(
    post,
    path = "/send-otp",
    operation_id = "openlyneSend",
    request_body = shape::SendRequest,
    responses(
        (status = 200, description = "Accepted", body = shape::Sent),
        (status = 429, description = "Too soon, or too many: `error.code` names the limit", body = shape::Refused),
    ),
)]
pub(crate) async fn send(api: State<Api>, key: Keyed, body: JsonBody) -> Sending {
    let tenant = Tenant { mode: mode(&key.0, &body.0)?, ..key.0 };
    let (target, record) = (phone(&tenant, &body.0)?, uid(&body.0)?);
    let sent = shape::Sent::to(number(&target));
    let code = Send { code_length: Some(DIGITS), ttl: Some(LIFE), ..Send::new(target, Channel::Sms) };
    let accepted = send::send(&api, &tenant, Send { record, is_subject: true, ..code }).await?;
    Ok((standing(accepted.standing), Json(sent)))
}

/// Verify it
#[utoipa::path(
    post,
    path = "/verify-otp",
    operation_id = "openlyneVerify",
    request_body = shape::VerifyRequest,
    responses(
        (status = 200, description = "Right", body = shape::Verified),
        (status = 400, description = "Wrong, expired, used or never sent: `error.code` tells", body = shape::Refused),
        (status = 429, description = "Too many wrong guesses at this number", body = shape::Refused),
    ),
)]
pub(crate) async fn verify(api: State<Api>, key: Keyed, body: JsonBody) -> Reply<shape::Verified> {
    let tenant = &key.0;
    let (uid, code) = (uid(&body.0)?, code(&body.0)?);
    let found = find(&api, tenant, &uid).await?.ok_or_else(|| refused(Reason::NotFound))?;
    let target = target(&api, tenant, &found).await?;
    // By the server's id: a uid that looks like one is never taken for one.
    let record = Some(found.id.to_string());
    let guess = Verify { target: target.clone(), code, record, client_ip: None, erase: true };
    match verify::verify(&api, tenant, guess).await? {
        // Sent by another door, with a fallback to somebody else: whose it was cannot be said.
        Verdict::Verified { dispatches, .. } if !chain::went_to_target_alone(&dispatches) => {
            Err(wrong("not_found", "The OTP of this uid went to several targets"))
        }
        Verdict::Verified { verification, .. } => {
            Ok(Json(shape::Verified::of(number(&target), tenant.is_foreign(verification.mode))))
        }
        Verdict::Wrong { .. } => Err(wrong("invalid_code", "Invalid OTP")),
        // It was there a moment ago: somebody else's right answer has erased it.
        Verdict::Refused { reason: Reason::NotFound, .. } => Err(refused(Reason::Used)),
        Verdict::Refused { reason, .. } => Err(refused(reason)),
        Verdict::Limited { exhausted, .. } => Err(ApiError::too_many_guesses(exhausted)),
    }
}

/// Send a code for a user, at its other path
#[utoipa::path(
    post,
    path = "/webhook/send-otp",
    operation_id = "openlyneWebhookSend",
    request_body = shape::SendRequest,
    responses(
        (status = 200, description = "Accepted", body = shape::Sent),
        (status = 429, description = "Too soon, or too many: `error.code` names the limit", body = shape::Refused),
    ),
)]
pub(crate) async fn webhook_send(api: State<Api>, key: Keyed, body: JsonBody) -> Sending {
    send(api, key, body).await
}

/// Verify it, at its other path
#[utoipa::path(
    post,
    path = "/webhook/verify-otp",
    operation_id = "openlyneWebhookVerify",
    request_body = shape::VerifyRequest,
    responses(
        (status = 200, description = "Right", body = shape::Verified),
        (status = 400, description = "Wrong, expired, used or never sent: `error.code` tells", body = shape::Refused),
        (status = 429, description = "Too many wrong guesses at this number", body = shape::Refused),
    ),
)]
pub(crate) async fn webhook_verify(api: State<Api>, key: Keyed, body: JsonBody) -> Reply<shape::Verified> {
    verify(api, key, body).await
}

/// The verification that a uid stands for now.
async fn find(api: &Api, tenant: &Tenant, uid: &str) -> Result<Option<Verification>, ApiError> {
    let (project, modes) = (tenant.id(), tenant.mode.visible());
    let id = project.as_uuid();
    let subject = api.parts.vault.keys().indexes(IndexKind::Subject, &[id.as_bytes(), uid.as_bytes()]);
    let wanted = Wanted { project, modes, target: &subject, record: Some(uid) };
    let Some(id) = api.parts.store.newest(api.parts.clock.now(), &wanted).await? else { return Ok(None) };
    let timeline = api.parts.store.timeline(project, modes, id).await?;
    Ok(timeline.map(|timeline| timeline.verification))
}

/// Where its code went, unless that is erased or forgotten.
async fn target(api: &Api, tenant: &Tenant, found: &Verification) -> Result<Target, ApiError> {
    let target = api.parts.vault.open_target(tenant.id(), found.id, &found.target, found.country.clone()).await?;
    let reason = if found.state == RowState::Verified { Reason::Used } else { Reason::NotFound };
    target.ok_or_else(|| refused(reason))
}

fn mode(tenant: &Tenant, fields: &Fields) -> Result<Mode, ApiError> {
    match fields.text("env")? {
        None | Some("live") => Ok(tenant.mode),
        Some("sandbox") => Ok(Mode::Sandbox),
        Some(_) => Err(ApiError::field("env must be sandbox, or left out for live mode")),
    }
}

/// A number with its country code, as a number or a text: `256700123456`. A `+` or `00` before it does no harm.
fn phone(tenant: &Tenant, fields: &Fields) -> Result<Target, ApiError> {
    let bad = || ApiError::field("phone must be a phone number with its country code, such as 256700123456");
    let text = fields.loose("phone")?.ok_or_else(|| ApiError::field("phone is required"))?;
    let text = text.trim();
    let digits = text.strip_prefix('+').or_else(|| text.strip_prefix("00")).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(bad());
    }
    let strictness = Strictness::Valid { magic: tenant.mode == Mode::Sandbox };
    let target = Target::parse(Channel::Sms, &format!("+{digits}"), None, strictness).map_err(|_| bad())?;
    match target.country().filter(|_| !tenant.project.settings.reaches(&target)) {
        Some(country) => Err(ApiError::field(format!("phone is in {country}, where this project does not send"))),
        None => Ok(target),
    }
}

/// In its one form: whoever spells it in another way means the same user.
fn uid(fields: &Fields) -> Result<String, ApiError> {
    let uid = Uuid::try_parse(fields.required_text("uid")?.trim());
    uid.map(|uid| uid.to_string()).map_err(|_| ApiError::field("uid must be a UUID"))
}

fn code(fields: &Fields) -> Result<Code, ApiError> {
    let text = fields.loose("code")?.ok_or_else(|| ApiError::field("code is required"))?;
    Code::parse(text.trim()).map_err(|problem| ApiError::field(format!("code {problem}")))
}

/// As callers wrote it: without the plus.
fn number(target: &Target) -> String {
    target.canonical().trim_start_matches('+').to_owned()
}

fn refused(reason: Reason) -> ApiError {
    match reason {
        Reason::Expired => wrong("code_expired", "OTP has expired"),
        Reason::Used => wrong("code_used", "OTP has been used"),
        Reason::TooMany => wrong("too_many_attempts", "Too many attempts"),
        Reason::Canceled => wrong("code_canceled", "OTP was canceled"),
        Reason::NotFound => wrong("not_found", "No OTP was sent for this uid"),
    }
}

fn wrong(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, code, message)
}

/// The envelope of every refusal.
pub(crate) fn envelope(error: &ApiError) -> (StatusCode, Value) {
    let body = json!({ "success": false, "data": null, "message": error.message, "error": { "code": error.code } });
    (error.status, body)
}
