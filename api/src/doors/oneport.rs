//! The 1port door, `/api/auth/send-otp` and `/api/auth/verify-otp`: the login door with other names. No key.
//!
//! Whatever a provider answers, its caller never sees it: sends are accepted before a provider is asked.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::OpenDoor;
use super::login::{send_to, verify_at};
use crate::core::Api;
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::openapi::login::{Message, Sent, SignedIn};
use crate::openapi::oneport as shape;

/// Send a code to a phone
#[utoipa::path(
    post,
    path = "/api/auth/send-otp",
    operation_id = "oneportSend",
    request_body = shape::SendRequest,
    responses((status = 200, description = "Accepted", body = Sent)),
)]
pub(crate) async fn send(
    State(api): State<Api>,
    door: OpenDoor,
    JsonBody(fields): JsonBody,
) -> Result<(HeaderMap, Json<Sent>), ApiError> {
    send_to(&api, &door, &fields, "phone").await
}

/// Verify it
#[utoipa::path(
    post,
    path = "/api/auth/verify-otp",
    operation_id = "oneportVerify",
    request_body = shape::VerifyRequest,
    responses(
        (status = 200, description = "Signed in", body = SignedIn),
        (status = 401, description = "Wrong, expired, used or never sent: one answer", body = Message),
    ),
)]
pub(crate) async fn verify(
    State(api): State<Api>,
    door: OpenDoor,
    JsonBody(fields): JsonBody,
) -> Result<Json<SignedIn>, ApiError> {
    verify_at(&api, &door, &fields, "phone").await
}
