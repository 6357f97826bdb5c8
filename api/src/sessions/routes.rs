//! The routes of sessions: who am I, log out, and the keys that tokens are checked with.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use uuid::Uuid;

use super::verifier::bearer;
use super::{AccessClaims, BadToken, CheckTokens, SignedIn};
use crate::core::Api;
use crate::doors::OpenDoor;
use crate::error::ApiError;
use crate::extract::{Authenticated, JsonBody};
use crate::openapi::login::Message;
use crate::openapi::session as shape;
use crate::openapi::v1::{SessionTokens, V1Error};

/// How long others may remember the keys: well under the time in which a new one is published before it signs.
const KEYS_KEPT: &str = "public, max-age=300";

impl CheckTokens for Api {
    async fn check(&self, parts: &Parts, token: &str) -> Result<AccessClaims, BadToken> {
        let door = parts.extensions.get::<OpenDoor>().ok_or(BadToken::Invalid)?;
        super::check(self, &door.tenant.project, token).await
    }
}

/// Who am I
///
/// Answers what the access token says, as long as its session has not ended.
#[utoipa::path(
    get,
    path = "/api/me",
    operation_id = "me",
    responses(
        (status = 200, description = "Signed in", body = shape::Me),
        (status = 401, description = "No token, or not a good one", body = Message),
    ),
)]
pub(crate) async fn me(SignedIn(claims): SignedIn) -> Json<shape::Me> {
    Json(shape::Me {
        id: claims.sub,
        project: claims.project,
        channel: claims.channel,
        issued_at: claims.iat,
        expires_at: claims.exp,
    })
}

/// Log out
///
/// Ends the session of the access token, and with it every refresh token of that session.
#[utoipa::path(
    post,
    path = "/auth/logout",
    operation_id = "logout",
    responses((status = 200, description = "Ended", body = shape::LoggedOut)),
)]
pub(crate) async fn logout(
    State(api): State<Api>,
    door: OpenDoor,
    headers: HeaderMap,
) -> Result<Json<shape::LoggedOut>, ApiError> {
    let refused = |bad: BadToken| match bad {
        BadToken::Unavailable => ApiError::unavailable(),
        bad => ApiError::new(StatusCode::UNAUTHORIZED, "invalid_token", bad.to_string()),
    };
    let token = bearer(&headers).map_err(refused)?;
    let claims = check_any(&api, &door, token).await.map_err(refused)?;
    if let Ok(id) = Uuid::try_parse(&claims.sid) {
        api.parts.store.end_session(id, api.parts.clock.now()).await?;
    }
    Ok(Json(shape::LoggedOut { message: "Logged out" }))
}

/// Renew a session
///
/// New tokens for a refresh token, which is spent by that. A spent one ends its session.
#[utoipa::path(
    post,
    path = "/api/v1/session/refresh",
    operation_id = "refreshSession",
    request_body = shape::RefreshRequest,
    responses(
        (status = 200, description = "Renewed", body = SessionTokens),
        (status = 401, description = "Not a good key, project or refresh token: `code` names it", body = V1Error),
    ),
)]
pub(crate) async fn refresh(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    JsonBody(fields): JsonBody,
) -> Result<Json<SessionTokens>, ApiError> {
    let tokens = super::renew(&api, &tenant, fields.required_text("refreshToken")?).await?;
    Ok(Json(tokens.into()))
}

/// End a session
#[utoipa::path(
    post,
    path = "/api/v1/session/end",
    operation_id = "endSession",
    request_body = shape::RefreshRequest,
    responses(
        (status = 200, description = "Ended", body = shape::Ended),
        (status = 401, description = "Not a good key, project or refresh token: `code` names it", body = V1Error),
    ),
)]
pub(crate) async fn end(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    JsonBody(fields): JsonBody,
) -> Result<Json<shape::Ended>, ApiError> {
    super::end(&api, &tenant, fields.required_text("refreshToken")?).await?;
    Ok(Json(shape::Ended { ended: true }))
}

/// The claims of a token of any project whose people log in here.
async fn check_any(api: &Api, door: &OpenDoor, token: &str) -> Result<AccessClaims, BadToken> {
    for tenant in door.tenants() {
        match super::check(api, &tenant.project, token).await {
            Err(BadToken::Invalid) => {}
            other => return other,
        }
    }
    Err(BadToken::Invalid)
}

/// The keys that tokens are signed with
///
/// Those that sign now, will soon, or did until lately.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "jwks",
    responses((status = 200, description = "A JSON Web Key Set", body = shape::KeySet)),
)]
pub(crate) async fn jwks(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let keys = api.sessions.signer.jwks().await?;
    Ok(([(CACHE_CONTROL, KEYS_KEPT), (axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(keys)))
}
