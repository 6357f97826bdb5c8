//! Why a request was not answered as asked: status, message and a stable code. In the shape of the v1 door, until a
//! door's [`reshape`] gives it that door's own.
//!
//! For clients. What went wrong inside is logged where it happened and never told.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::batch::BatchError;
use common::otp::limits::{Exhausted, Standing};
use common::otp::rows::LimitName;
use common::store::StoreError;
use common::tenancy::AuthError;
use common::vault::VaultError;
use serde_json::{Value, json};

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

    /// The same of a field within another one.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        self.message = format!("{outer}.{}", self.message);
        self
    }

    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
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

    /// Too many wrong guesses, at one target or from one address.
    pub(crate) fn too_many_guesses(exhausted: Exhausted) -> Self {
        Self::limited("guesses_limited", exhausted.retry_after, Some(exhausted.standing))
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
        (LimitName::Target, 1) | (LimitName::Record, _) => "cooldown",
        (LimitName::Target, _) => "target_limited",
        (LimitName::Ip, _) => "ip_limited",
    }
}

impl ApiError {
    fn render(&self, status: StatusCode, body: Value) -> Response {
        let mut response = (status, Json(body)).into_response();
        self.add_headers(response.headers_mut());
        response
    }

    /// When to come again, and how the limit stands.
    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body stays unread, so nobody shall send another request after it.
            headers.insert("connection", HeaderValue::from_static("close"));
        }
        if let Some(retry_after) = self.retry_after {
            headers.insert("retry-after", seconds(retry_after));
        }
        add_standing(headers, self.standing);
    }
}

/// The shape of v1, and of whatever belongs to no door.
pub(crate) fn plain(error: &ApiError) -> (StatusCode, Value) {
    let body = json!({ "statusCode": error.status.as_u16(), "message": error.message, "code": error.code });
    (error.status, body)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, body) = plain(&self);
        let mut response = self.render(status, body);
        response.extensions_mut().insert(self);
        response
    }
}

/// How a door says that something is wrong: status and body.
pub(crate) type Shape = fn(&ApiError) -> (StatusCode, Value);

/// Gives every refusal that comes from below a door the shape of that door.
pub(crate) fn reshape(shape: Shape, mut response: Response) -> Response {
    let refused_method = (response.status() == StatusCode::METHOD_NOT_ALLOWED).then(ApiError::method_not_allowed);
    let Some(error) = response.extensions_mut().remove::<ApiError>().or(refused_method) else { return response };
    let (status, body) = shape(&error);
    keep_said(&response, error.render(status, body))
}

/// What layers in between have said, such as CORS, stays said.
pub(crate) fn keep_said(response: &Response, mut shaped: Response) -> Response {
    let said =
        response.headers().iter().filter(|(name, _)| !matches!(name.as_str(), "content-type" | "content-length"));
    for (name, value) in said {
        if !shaped.headers().contains_key(name) {
            shaped.headers_mut().append(name, value.clone());
        }
    }
    shaped
}

/// The same for a reply of its own.
pub(crate) fn standing(standing: Option<Standing>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    add_standing(&mut headers, standing);
    headers
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
