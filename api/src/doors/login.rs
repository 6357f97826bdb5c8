//! The login door, `/api/send-otp` and `/api/verify-otp`: a phone number and its code for a token. No key.
//!
//! Six digits, five minutes, single use. Refusals are `{"message"}`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::otp::channel::Channel;
use common::otp::code::Code;
use common::otp::guess::Verdict;
use serde_json::{Value, json};

use super::OpenDoor;
use crate::core::Api;
use crate::error::{ApiError, standing};
use crate::extract::JsonBody;
use crate::fields::Fields;
use crate::openapi::login as shape;
use crate::sessions::{self, Passed};
use crate::{send, verify};

const DIGITS: u8 = 6;
const LIFE: u32 = 300;

/// Send a code to a phone
#[utoipa::path(
    post,
    path = "/api/send-otp",
    operation_id = "loginSend",
    request_body = shape::SendRequest,
    responses((status = 200, description = "Accepted", body = shape::Sent)),
)]
pub(crate) async fn send(
    State(api): State<Api>,
    door: OpenDoor,
    JsonBody(fields): JsonBody,
) -> Result<(HeaderMap, Json<shape::Sent>), ApiError> {
    send_to(&api, &door, &fields, "phoneNumber").await
}

/// Verify it
#[utoipa::path(
    post,
    path = "/api/verify-otp",
    operation_id = "loginVerify",
    request_body = shape::VerifyRequest,
    responses(
        (status = 200, description = "Signed in", body = shape::SignedIn),
        (status = 401, description = "Wrong, expired, used or never sent: one answer", body = shape::Message),
    ),
)]
pub(crate) async fn verify(
    State(api): State<Api>,
    door: OpenDoor,
    JsonBody(fields): JsonBody,
) -> Result<Json<shape::SignedIn>, ApiError> {
    verify_at(&api, &door, &fields, "phoneNumber").await
}

/// Sends to the number in field `name`, for this door and the one that is built like it.
pub(super) async fn send_to(
    api: &Api,
    door: &OpenDoor,
    fields: &Fields,
    name: &str,
) -> Result<(HeaderMap, Json<shape::Sent>), ApiError> {
    let invalid = || ApiError::field("Phone number is invalid");
    let phone = fields.loose(name).map_err(|_| invalid())?;
    let phone = phone.ok_or_else(|| ApiError::field("Phone number is required"))?;
    let target = door.phone(&phone).map_err(|_| invalid())?;
    let request = send::Send { code_length: Some(DIGITS), ttl: Some(LIFE), ..door.send(target, Channel::Sms) };
    let accepted = send::send(api, &door.tenant, request).await?;
    Ok((standing(accepted.standing), Json(shape::Sent { message: "OTP sent successfully" })))
}

/// Looks at a code, and opens a session when it is right.
pub(super) async fn verify_at(
    api: &Api,
    door: &OpenDoor,
    fields: &Fields,
    name: &str,
) -> Result<Json<shape::SignedIn>, ApiError> {
    let (Some(phone), Some(code)) = (fields.loose(name)?, fields.loose("otp")?) else {
        return Err(ApiError::field("Phone number and OTP are required"));
    };
    let refused = || ApiError::new(StatusCode::UNAUTHORIZED, "invalid_code", "Invalid or expired OTP");
    let target = door.phone_again(&phone).map_err(|_| refused())?;
    let code = Code::parse(code.trim()).map_err(|_| refused())?;
    match verify::verify(api, &door.tenant, door.verify(target.clone(), code)).await? {
        Verdict::Verified { verification, dispatches, .. } => {
            let passed = Passed { verification: &verification, dispatches: &dispatches, target: &target };
            let tokens = sessions::open(api, &door.tenant, passed).await?;
            tokens.map(|tokens| Json(shape::SignedIn { token: tokens.access })).ok_or_else(refused)
        }
        Verdict::Wrong { .. } | Verdict::Refused { .. } => Err(refused()),
        Verdict::Limited { exhausted, .. } => Err(ApiError::too_many_guesses(exhausted)),
    }
}

/// `{"message"}`, whatever it is about.
pub(crate) fn message(error: &ApiError) -> (StatusCode, Value) {
    (error.status, json!({ "message": error.message }))
}

/// The same of a send; what went wrong on our side is not its caller's to know.
pub(crate) fn sending(error: &ApiError) -> (StatusCode, Value) {
    failing(error, "Failed to send OTP")
}

/// The same of a guess.
pub(crate) fn verifying(error: &ApiError) -> (StatusCode, Value) {
    failing(error, "OTP verification failed")
}

fn failing(error: &ApiError, words: &str) -> (StatusCode, Value) {
    if error.status.is_server_error() { (error.status, json!({ "message": words })) } else { message(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_here_is_not_told() {
        let bug = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error");
        assert_eq!(sending(&bug), (bug.status, json!({ "message": "Failed to send OTP" })));
        assert_eq!(verifying(&bug), (bug.status, json!({ "message": "OTP verification failed" })));
        let refused = ApiError::field("Phone number is invalid");
        assert_eq!(sending(&refused), (refused.status, json!({ "message": "Phone number is invalid" })));
    }
}
