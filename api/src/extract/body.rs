//! Bodies, JSON and forms: size first, then type, then whether there is one. All of that comes before the key is looked at.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::fields::Fields;

/// The largest body that is read, where a door does not say otherwise.
pub(crate) const LARGEST_BODY: usize = 16 * 1024;

/// The body's fields.
#[derive(Debug)]
pub(crate) struct JsonBody(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = read(request.into_body(), LARGEST_BODY).await?;
        Fields::parse(&body).map(Self)
    }
}

/// The body's fields, decoded. Of a repeated field the last one counts.
pub(crate) struct FormBody(pub(crate) Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for FormBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = read(request.into_body(), LARGEST_BODY).await?;
        Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect()))
    }
}

impl FormBody {
    /// A field that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().rev().find(|(key, _)| key == name);
        field.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Reads the body of a POST before anything else looks at the request.
pub(crate) async fn has_json(request: Request) -> Result<Request, ApiError> {
    check(request, is_json, "application/json").await
}

/// The same for forms.
pub(crate) async fn has_form(request: Request) -> Result<Request, ApiError> {
    const FORM: &str = "application/x-www-form-urlencoded";
    check(request, |content_type| essence(content_type) == FORM, FORM).await
}

/// The bytes of a JSON body, for handlers that check who signed them.
pub(crate) async fn read_json(request: Request, largest: usize) -> Result<(Parts, Bytes), ApiError> {
    read_whole(request, largest, is_json, "application/json").await
}

async fn check(request: Request, is_right: impl Fn(&str) -> bool, wanted: &str) -> Result<Request, ApiError> {
    if request.method() != axum::http::Method::POST {
        return Ok(request);
    }
    let (parts, body) = read_whole(request, LARGEST_BODY, is_right, wanted).await?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

async fn read_whole(
    request: Request,
    largest: usize,
    is_right: impl Fn(&str) -> bool,
    wanted: &str,
) -> Result<(Parts, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > largest as u64) {
        return Err(too_large(largest));
    }
    let body = read(body, largest).await?;
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if body.is_empty() {
        return Err(ApiError::field("Body is required"));
    }
    if !content_type.is_some_and(is_right) {
        let message = format!("Content-Type must be {wanted}");
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    Ok((parts, body))
}

async fn read(body: Body, largest: usize) -> Result<Bytes, ApiError> {
    to_bytes(body, largest).await.map_err(|_| too_large(largest))
}

fn too_large(largest: usize) -> ApiError {
    let message = format!("Body must be at most {} KiB", largest / 1024);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

/// `application/json` and its kin such as `application/problem+json`, whatever their parameters.
fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
