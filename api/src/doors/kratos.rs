//! Ory Kratos's HTTP courier, `/hooks/kratos`: its codes, delivered here, for a key that may bring its caller's own.
//!
//! Any 2xx is a message sent to Kratos, and everything else it tries again, about once a second and 5 times. So what can
//! never be sent because it has no code is answered with 200. Source: github.com/ory/kratos, courier/.

use aws_lc_rs::digest::{Context, SHA256};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::otp::channel::Channel;
use common::otp::code::Code;
use common::otp::guess::DOOR_PREFIX;
use common::otp::settings::{MAX_TTL, MIN_TTL};
use common::otp::target::Target;
use common::tenancy::Tenant;
use tracing::info;

use super::hooks;
use crate::core::Api;
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::fields::Fields;
use crate::openapi::kratos as shape;
use crate::send::{self, Origin, Send};

/// A year: no code lives longer.
const MOST_MINUTES: u32 = 525_600;
/// Templates that are nothing without their code.
const WITH_CODE: &str = "_code_valid";

/// The tenant of a courier's key.
#[derive(Debug)]
pub(crate) struct Courier(Tenant);

impl FromRequestParts<Api> for Courier {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let key = parts.headers.get("x-api-key").and_then(|value| value.to_str().ok());
        let tenant = api.parts.directory.authenticate_key(key).await?;
        if !tenant.own_codes {
            let message = "This key may not bring codes of its own";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "own_codes_not_allowed", message));
        }
        Ok(Self(tenant))
    }
}

/// Send a message of Kratos's courier
///
/// The same recipient, template and code again sends nothing again.
#[utoipa::path(
    post,
    path = "/hooks/kratos",
    operation_id = "kratosSend",
    request_body = shape::Message,
    responses(
        (status = 200, description = "Accepted, or has no code and is left", body = shape::Taken),
        (status = 429, description = "A limit, which `code` names", body = crate::openapi::v1::V1Error),
    ),
)]
pub(crate) async fn send(
    State(api): State<Api>,
    Courier(tenant): Courier,
    JsonBody(fields): JsonBody,
) -> Result<Json<shape::Taken>, ApiError> {
    let template = hooks::kind(&fields, "template_type")?;
    let Some(code) = read_code(&fields, template)? else {
        info!(kratos.template = template, "a message without a code is not sent");
        return Ok(Json(shape::Taken { queued: false }));
    };
    let request = read_send(&tenant, &fields, template, code)?;
    send::send(&api, &tenant, request).await?;
    Ok(Json(shape::Taken { queued: true }))
}

/// Kratos's own body leaves some codes out: that must not look like a message without one.
fn read_code(fields: &Fields, template: &str) -> Result<Option<Code>, ApiError> {
    let code = hooks::code(fields, "code")?;
    if code.is_none() && template.ends_with(WITH_CODE) {
        let message =
            format!("code is required for {template}: is the courier's body docs/integrations/kratos.jsonnet?");
        return Err(ApiError::field(message));
    }
    Ok(code)
}

fn read_send(tenant: &Tenant, fields: &Fields, template: &str, code: Code) -> Result<Send, ApiError> {
    let recipient = fields.required_text("recipient")?;
    let channel = if recipient.contains('@') { Channel::Email } else { Channel::Sms };
    let problem = |_| ApiError::field("recipient must be an e-mail address or a phone number in E.164");
    let target = hooks::target(tenant, channel, recipient).map_err(problem)?;
    if let Some(country) = target.country().filter(|_| !tenant.project.settings.reaches(&target)) {
        return Err(ApiError::field(format!("recipient is in {country}, where this project does not send")));
    }
    let minutes = fields.whole("expires_in_minutes", 0, MOST_MINUTES)?;
    Ok(Send {
        record: format!("{DOOR_PREFIX}kratos:{template}"),
        ttl: minutes.map(life),
        idempotency_key: Some(message_id(&target, template, &code)),
        origin: Origin::Relayed(code),
        ..Send::new(target, channel)
    })
}

/// Kratos cuts its minutes off: less than one of them is 0.
fn life(minutes: u32) -> u32 {
    let seconds = u64::from(minutes) * 60;
    u32::try_from(seconds.clamp(MIN_TTL.as_secs(), MAX_TTL.as_secs())).unwrap_or_default()
}

/// Kratos names none: what is the same in all of this is the same message.
fn message_id(target: &Target, template: &str, code: &Code) -> String {
    let mut context = Context::new(&SHA256);
    for part in [template, "\0", code.reveal(), "\0", target.canonical()] {
        context.update(part.as_bytes());
    }
    format!("kratos:{}", BASE64_STANDARD.encode(context.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_what_is_allowed_of_it() {
        assert_eq!([0, 1, 5, 10, 11, MOST_MINUTES].map(life), [10, 60, 300, 600, 600, 600]);
    }

    #[test]
    fn a_message_is_known_by_its_recipient_template_and_code() {
        let id = |to, template, code| {
            let target = Target::guess(to, None).expect("a target");
            message_id(&target, template, &Code::parse(code).expect("a code"))
        };
        let first = id("Ann@example.com", "login_code_valid", "000123");
        assert_eq!(first, id("ann@EXAMPLE.com", "login_code_valid", "000123"));
        assert!(!first.contains("000123"));
        for other in [
            id("bob@example.com", "login_code_valid", "000123"),
            id("ann@example.com", "recovery_code_valid", "000123"),
            id("ann@example.com", "login_code_valid", "000124"),
        ] {
            assert_ne!(first, other);
        }
    }
}
