//! The mobile door, `/auth/mobile`, `/auth/code` and `/auth/refresh-token`: a number, its code, and tokens that renew
//! themselves. No key.
//!
//! Five minutes, as many digits as the project says, one send a minute for each address. Refusals are
//! `{"statusCode","message"}`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::otp::channel::Channel;
use common::otp::code::Code;
use common::otp::guess::{Reason, Verdict};
use common::otp::limits::Window;
use serde_json::{Value, json};

use super::OpenDoor;
use crate::core::Api;
use crate::error::{ApiError, standing};
use crate::extract::JsonBody;
use crate::fields::Fields;
use crate::openapi::mobile as shape;
use crate::sessions::{self, Passed, Tokens};
use crate::{send, verify};

const LIFE: u32 = 300;
/// Of one address.
const SENDS: (&str, Window) = ("mobile", Window::new(1, Duration::from_secs(60)));

/// Send a code to a phone
#[utoipa::path(
    post,
    path = "/auth/mobile",
    operation_id = "mobileSend",
    request_body = shape::SendRequest,
    responses(
        (status = 200, description = "Accepted", body = shape::Sent),
        (status = 429, description = "One a minute for each address; the limits of the number", body = shape::Refused),
    ),
)]
pub(crate) async fn send(
    State(api): State<Api>,
    door: OpenDoor,
    JsonBody(fields): JsonBody,
) -> Result<(HeaderMap, Json<shape::Sent>), ApiError> {
    let target = door.phone(&mobile(&fields)?).map_err(|_| invalid_mobile())?;
    let test_code = send::test_code(&door.tenant, &target, api.parts.clock.now());
    let request = door.send(target, Channel::Sms);
    let request = send::Send { ttl: Some(LIFE), door_limit: Some(SENDS), ..request };
    let accepted = send::send(&api, &door.tenant, request).await?;
    let temp_otp = test_code.map(|code| code.reveal().to_owned());
    let sent = shape::Sent { message: "OTP code has been sent to mobile", temp_otp };
    Ok((standing(accepted.standing), Json(sent)))
}

/// Verify it
#[utoipa::path(
    post,
    path = "/auth/code",
    operation_id = "mobileVerify",
    request_body = shape::VerifyRequest,
    responses(
        (status = 200, description = "Signed in", body = shape::SignedIn),
        (status = 400, description = "A bad number, a bad code, or one that has expired", body = shape::Refused),
        (status = 429, description = "Too many wrong guesses, at this number or from this address", body = shape::Refused),
    ),
)]
pub(crate) async fn verify(
    State(api): State<Api>,
    door: OpenDoor,
    JsonBody(fields): JsonBody,
) -> Result<Json<shape::SignedIn>, ApiError> {
    let mobile = mobile(&fields)?;
    let target = door.phone_again(&mobile).map_err(|_| invalid_mobile())?;
    let invalid = || wrong("invalid_code", "Invalid OTP");
    let code = fields.loose("code").ok().flatten().ok_or_else(invalid)?;
    let code = Code::parse(code.trim()).map_err(|_| invalid())?;
    match verify::verify(&api, &door.tenant, door.verify(target.clone(), code)).await? {
        Verdict::Verified { verification, dispatches, .. } => {
            let passed = Passed { verification: &verification, dispatches: &dispatches, target: &target };
            let tokens = sessions::open(&api, &door.tenant, passed).await?;
            tokens.map(|tokens| Json(signed_in(tokens, mobile))).ok_or_else(invalid)
        }
        Verdict::Refused { reason: Reason::Expired, .. } => Err(wrong("code_expired", "OTP expired")),
        Verdict::Wrong { .. } | Verdict::Refused { .. } => Err(invalid()),
        Verdict::Limited { exhausted, .. } => Err(ApiError::too_many_guesses(exhausted)),
    }
}

/// Renew the tokens
///
/// The refresh token is spent by that. A spent one ends its session.
#[utoipa::path(
    post,
    path = "/auth/refresh-token",
    operation_id = "mobileRefresh",
    request_body = shape::RefreshRequest,
    responses(
        (status = 200, description = "Renewed", body = shape::Renewed),
        (status = 401, description = "Spent, expired, ended, forged or somebody else's", body = shape::Refused),
    ),
)]
pub(crate) async fn refresh(
    State(api): State<Api>,
    door: OpenDoor,
    JsonBody(fields): JsonBody,
) -> Result<Json<shape::Renewed>, ApiError> {
    let tokens = sessions::renew(&api, &door.tenant, fields.required_text("refreshToken")?).await?;
    let data = shape::RenewedData { tokens: pair(tokens) };
    Ok(Json(shape::Renewed { data, message: "Tokens renewed successfully" }))
}

fn mobile(fields: &Fields) -> Result<String, ApiError> {
    fields.loose("mobile").ok().flatten().ok_or_else(invalid_mobile)
}

fn invalid_mobile() -> ApiError {
    ApiError::field("Please insert valid mobile")
}

fn wrong(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, code, message)
}

fn signed_in(tokens: Tokens, mobile: String) -> shape::SignedIn {
    let user = shape::User { id: tokens.user.to_string(), mobile, name: None, email: None, status: 1 };
    let data = shape::SignedInData { tokens: pair(tokens), user, permissions: ["READ", "WRITE"] };
    shape::SignedIn { data, message: "OTP successfully validated" }
}

fn pair(tokens: Tokens) -> shape::Tokens {
    shape::Tokens { access_token: tokens.access, refresh_token: tokens.refresh }
}

/// `{"statusCode","message"}`; too much is told in the same words whatever the limit.
pub(crate) fn shape(error: &ApiError) -> (StatusCode, Value) {
    let message = match error.status {
        StatusCode::TOO_MANY_REQUESTS => "Too Many Requests",
        // Which of our parts it was is not its caller's to know.
        status if status.is_server_error() => "Service temporarily unavailable",
        _ => error.message.as_str(),
    };
    (error.status, json!({ "statusCode": error.status.as_u16(), "message": message }))
}
