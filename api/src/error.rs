//! Why a request was not answered as asked, in the shape of the v1 door: status, message and a stable code.
//!
//! For clients. What went wrong inside is logged where it happened and never told.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::batch::BatchError;
use common::otp::limits::Standing;
use common::otp::rows::LimitName;
use common::store::StoreError;
use common::tenancy::AuthError;
use common::vault::VaultError;
use serde_json::json;

/// How long a client should wait when the store is away.
const AWAY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) code: &'static str,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) standing: Option<Standing>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code, retry_after: None, standing: None }
    }

    /// A field that is not as it must be; the message names it.
    pub(crate) fn field(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn unavailable() -> Self {
        let message = "Service temporarily unavailable";
        Self { retry_after: Some(AWAY), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message) }
    }

    pub(crate) fn no_provider(channel: &str) -> Self {
        let message = format!("No provider is configured for channel {channel}");
        let retry_after = Some(Duration::from_secs(60));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_provider", message) }
    }

    /// Too much, by whichever limit: `code` tells which.
    pub(crate) fn limited(code: &'static str, retry_after: Duration, standing: Option<Standing>) -> Self {
        let message = "Too many requests - Rate limit exceeded";
        let retry_after = Some(retry_after);
        Self { retry_after, standing, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, message) }
    }
}

/// The slug of a limit that is used up; a target's own depends on which of its windows it was.
pub(crate) const fn limit_code(name: LimitName, burst: u32) -> &'static str {
    match (name, burst) {
        (LimitName::Project, _) => "rate_limited",
        (LimitName::Target, 1) => "cooldown",
        (LimitName::Target, _) => "target_limited",
        (LimitName::Ip, _) => "ip_limited",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "statusCode": self.status.as_u16(), "message": self.message, "code": self.code });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(retry_after) = self.retry_after {
            response.headers_mut().insert("retry-after", seconds(retry_after));
        }
        add_standing(response.headers_mut(), self.standing);
        response
    }
}

/// The tightest limit as `RateLimit-*` headers.
pub(crate) fn add_standing(headers: &mut HeaderMap, standing: Option<Standing>) {
    if let Some(standing) = standing {
        headers.insert("ratelimit-limit", standing.limit.into());
        headers.insert("ratelimit-remaining", standing.remaining.into());
        headers.insert("ratelimit-reset", seconds(standing.reset));
    }
}

/// Whole seconds, at least one.
fn seconds(time: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1))
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Key => Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", error.to_string()),
            AuthError::Project => Self::new(StatusCode::UNAUTHORIZED, "invalid_project", error.to_string()),
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request met a store error");
        Self::unavailable()
    }
}

impl From<BatchError> for ApiError {
    fn from(_: BatchError) -> Self {
        Self::unavailable()
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        tracing::error!(%error, "a request met a key error");
        Self::unavailable()
    }
}
