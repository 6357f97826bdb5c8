//! Supabase Auth's hooks, `/hooks/supabase/send-sms` and `/hooks/supabase/send-email`: its codes, delivered here.
//!
//! Signed as Standard Webhooks say. Answered once the send is committed, not once it is delivered: Supabase waits for 5 s.
//! Its rules are those of github.com/supabase/auth, internal/hooks/hookshttp.

mod payload;

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use common::otp::channel::Channel;
use common::otp::guess::DOOR_PREFIX;
use common::tenancy::Tenant;
use providers::standard_webhooks::{self, NotASecret, Secret};
use secrecy::SecretString;
use serde_json::{Value, json};
use tracing::info;
use uuid::Uuid;

use self::payload::{Letter, read_email, read_sms};
use super::hooks;
use super::keyless::closed;
use crate::core::Api;
use crate::error::ApiError;
use crate::extract::read_json;
use crate::fields::Fields;
use crate::openapi::supabase as shape;
use crate::send::{self, Origin, Send};

/// A payload holds the whole user, whose metadata and identities grow with the apps; most are under 4 KiB.
const LARGEST: usize = 64 * 1024;

/// Whom the hooks act for, and who may call them.
#[derive(Debug, Clone)]
pub struct Supabase {
    project: Uuid,
    /// Any of them may have signed.
    secrets: Arc<[Secret]>,
}

impl Supabase {
    pub(super) const fn project(&self) -> Uuid {
        self.project
    }

    /// Secrets are as `whsec_…`.
    ///
    /// # Errors
    /// When one of them has not that form.
    pub fn new(project: Uuid, secrets: &[SecretString]) -> Result<Self, NotASecret> {
        let secrets = secrets.iter().map(Secret::parse).collect::<Result<_, _>>()?;
        Ok(Self { project, secrets })
    }
}

/// A payload that has been signed with one of the secrets.
pub(crate) struct Signed {
    tenant: Tenant,
    payload: Fields,
    /// The same at each try of a message.
    id: String,
}

impl FromRequest<Api> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let supabase = api.parts.doors.supabase.as_ref().ok_or_else(closed)?;
        let tenant = api.parts.directory.door(supabase.project).await?.ok_or_else(closed)?;
        let (parts, body) = read_json(request, LARGEST).await?;
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let webhook_id = header(standard_webhooks::ID);
        let signed = standard_webhooks::Signed {
            id: webhook_id,
            timestamp: header(standard_webhooks::TIMESTAMP),
            signature: header(standard_webhooks::SIGNATURE),
        };
        standard_webhooks::verify(&supabase.secrets, signed, &body, api.parts.clock.now())
            .map_err(|_| ApiError::new(StatusCode::UNAUTHORIZED, "invalid_signature", "Invalid signature"))?;
        let payload = Fields::parse(&body)?;
        // Supabase makes a new webhook-id for each try.
        let uuid = payload.get("metadata").and_then(|metadata| metadata.get("uuid")?.as_str());
        let id = uuid.filter(|uuid| !uuid.is_empty()).unwrap_or(webhook_id).to_owned();
        Ok(Self { tenant, payload, id })
    }
}

/// Send SMS hook
///
/// For Supabase Auth. The same `metadata.uuid` again sends nothing again.
#[utoipa::path(
    post,
    path = "/hooks/supabase/send-sms",
    operation_id = "supabaseSendSms",
    params(shape::Signature),
    request_body(content = shape::SmsHook, description = "At most 64 KiB"),
    responses((status = 200, description = "Accepted, or what the person is told", body = shape::Answer)),
)]
pub(crate) async fn send_sms(State(api): State<Api>, hook: Signed) -> Result<Json<shape::Answer>, ApiError> {
    let (kind, letter) = read_sms(&hook.payload)?;
    answer(hook.deliver(&api, Channel::Sms, &kind, vec![letter]).await)
}

/// Send Email hook
///
/// For Supabase Auth. Codes only: what has none is not sent, and a message has no link.
#[utoipa::path(
    post,
    path = "/hooks/supabase/send-email",
    operation_id = "supabaseSendEmail",
    params(shape::Signature),
    request_body(content = shape::EmailHook, description = "At most 64 KiB"),
    responses((status = 200, description = "Accepted, or what the person is told", body = shape::Answer)),
)]
pub(crate) async fn send_email(State(api): State<Api>, hook: Signed) -> Result<Json<shape::Answer>, ApiError> {
    let (kind, letters) = read_email(&hook.payload)?;
    if letters.is_empty() {
        return answer(Err(no_code(&kind)));
    }
    answer(hook.deliver(&api, Channel::Email, &kind, letters).await)
}

/// `{"error":{"http_code","message"}}`, as far as Supabase reads it.
pub(crate) fn refusal(error: &ApiError) -> (StatusCode, Value) {
    (error.status, json!({ "error": { "http_code": error.status.as_u16(), "message": error.message } }))
}

impl Signed {
    /// Every letter is read before any is sent.
    async fn deliver(&self, api: &Api, channel: Channel, kind: &str, letters: Vec<Letter>) -> Result<(), ApiError> {
        let mut sends = Vec::with_capacity(letters.len());
        for letter in letters {
            let target = hooks::target(&self.tenant, channel, &letter.to).map_err(|_| no_address(channel))?;
            sends.push(Send {
                record: format!("{DOOR_PREFIX}supabase:{kind}"),
                origin: Origin::Relayed(letter.code),
                idempotency_key: Some(format!("supabase:{}{}", self.id, letter.part)),
                ..Send::new(target, channel)
            });
        }
        for send in sends {
            send::send(api, &self.tenant, send).await.map_err(in_plain_words)?;
        }
        Ok(())
    }
}

fn no_address(channel: Channel) -> ApiError {
    ApiError::field(if channel == Channel::Email { "E-mail address is invalid" } else { "Phone number is invalid" })
}

/// Of a target that has been read, only its country is still refused as a field.
fn in_plain_words(error: ApiError) -> ApiError {
    if error.code == "invalid_request" { ApiError::field("Codes are not sent to this country") } else { error }
}

fn no_code(kind: &str) -> ApiError {
    let message = format!("{kind} has no code, and nothing but codes is sent");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "no_code", message)
}

fn answer(result: Result<(), ApiError>) -> Result<Json<shape::Answer>, ApiError> {
    let Err(error) = result else { return Ok(Json(shape::Answer { error: None })) };
    let told = told(&error).ok_or_else(|| error.clone())?;
    // The request log shows a 200.
    info!(hook.refusal = error.code, "a hook was refused");
    Ok(Json(shape::Answer { error: Some(told) }))
}

/// What the person is told. Not that the store is away: Supabase asks again where it gets 503 with Retry-After. What is
/// the operator's affair they are not told either.
fn told(error: &ApiError) -> Option<shape::Told> {
    let (status, message) = match (error.code, error.status) {
        ("unavailable", _) => return None,
        ("insufficient_tokens" | "no_provider", _) => {
            (StatusCode::SERVICE_UNAVAILABLE, "The code could not be sent".to_owned())
        }
        (_, StatusCode::TOO_MANY_REQUESTS) => {
            let seconds = error.retry_after.unwrap_or_default().as_millis().div_ceil(1000).max(1);
            (error.status, format!("Too many requests: try again in {seconds} s"))
        }
        (_, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) => (error.status, error.message.clone()),
        _ => return None,
    };
    Some(shape::Told { http_code: status.as_u16(), message })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn people_are_told_what_is_theirs_to_know() {
        let told = |error| told(&error).map(|told| (told.http_code, told.message));
        let limited = ApiError::limited("cooldown", Duration::from_millis(11_001), None);
        assert_eq!(told(limited), Some((429, "Too many requests: try again in 12 s".to_owned())));
        let tokens = ApiError::new(StatusCode::BAD_REQUEST, "insufficient_tokens", "Insufficient tokens");
        for error in [tokens, ApiError::no_provider("sms")] {
            assert_eq!(told(error), Some((503, "The code could not be sent".to_owned())));
        }
        assert_eq!(told(ApiError::unavailable()), None);
        assert_eq!(told(no_address(Channel::Sms)), Some((400, "Phone number is invalid".to_owned())));
    }
}
