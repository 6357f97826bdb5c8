//! Receipts: `POST /receipts/{provider}`, and with a secret behind it for providers that do not sign them, or ask by GET.
//! A GET without one asks whether receipts may come. The provider's own file checks and reads; the store takes batches.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use common::batch::BatchError;
use common::otp::receipt::Received;
use common::otp::rows::Receipt;
use common::otp::status::DispatchStatus;
use futures_util::future::try_join_all;
use providers::{BadReceipt, Provider, ReceiptEvent, ReceiptRequest};
use tracing::warn;
use uuid::Uuid;

use crate::core::Api;
use crate::error::ApiError;
use crate::openapi::v1::V1Error;
use crate::telemetry;

/// Vendors that batch their receipts send more than our own callers may.
const LARGEST: usize = 256 * 1024;
/// Receipts of one request that wait for the store at once, so that one vendor does not fill its queue.
const TOGETHER: usize = 256;

/// Take a provider's receipts
///
/// For providers alone, in each one's own form and signature. Known, unknown, late and repeated ones are answered alike.
#[utoipa::path(
    post,
    path = "/receipts/{provider}",
    operation_id = "receive",
    params(("provider" = String, Path, description = "The provider's name in the settings")),
    request_body(description = "What the provider sends, at most 256 KiB", content(
        (Object = "application/x-www-form-urlencoded"), (Object = "application/json"),
    )),
    responses(
        (status = 204, description = "Taken"),
        (status = 401, description = "The signature does not fit", body = V1Error),
        (status = 404, description = "No such provider, or one without receipts", body = V1Error),
    ),
)]
pub(crate) async fn post(
    State(api): State<Api>,
    provider: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let provider = provider.map(|Path(provider)| provider).unwrap_or_default();
    take(&api, &provider, None, request).await
}

/// Take a provider's receipts at an address that nobody else knows
///
/// For providers that do not sign their receipts: the secret is the one in their settings.
#[utoipa::path(
    post,
    path = "/receipts/{provider}/{secret}",
    operation_id = "receiveUnsigned",
    params(
        ("provider" = String, Path, description = "The provider's name in the settings"),
        ("secret" = String, Path, description = "The provider's `receipt_secret` in the settings"),
    ),
    request_body(description = "What the provider sends, at most 256 KiB", content(
        (Object = "application/x-www-form-urlencoded"), (Object = "application/json"),
    )),
    responses(
        (status = 204, description = "Taken"),
        (status = 401, description = "The secret does not fit", body = V1Error),
        (status = 404, description = "No such provider, or one without receipts", body = V1Error),
    ),
)]
pub(crate) async fn post_unsigned(
    State(api): State<Api>,
    address: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (provider, secret) = address.map(|Path(address)| address).unwrap_or_default();
    take(&api, &provider, Some(&secret), request).await
}

/// Take a receipt that a provider puts into a query
///
/// As by POST, for providers that call back with GET.
#[utoipa::path(
    get,
    path = "/receipts/{provider}/{secret}",
    operation_id = "receiveByQuery",
    params(
        ("provider" = String, Path, description = "The provider's name in the settings"),
        ("secret" = String, Path, description = "The provider's `receipt_secret` in the settings"),
    ),
    responses(
        (status = 204, description = "Taken"),
        (status = 400, description = "The query is not a receipt of this provider", body = V1Error),
        (status = 401, description = "The secret does not fit", body = V1Error),
        (status = 404, description = "No such provider, or one without receipts", body = V1Error),
    ),
)]
pub(crate) async fn get_unsigned(
    State(api): State<Api>,
    address: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (provider, secret) = address.map(|Path(address)| address).unwrap_or_default();
    take(&api, &provider, Some(&secret), request).await
}

/// Answer a provider that asks whether its receipts may come here
///
/// Meta asks so when a webhook is set up; the token is the provider's `verify_token` in the settings.
#[utoipa::path(
    get,
    path = "/receipts/{provider}",
    operation_id = "challenge",
    params(
        ("provider" = String, Path, description = "The provider's name in the settings"),
        ("hub.mode" = String, Query, description = "`subscribe`"),
        ("hub.verify_token" = String, Query, description = "What only the provider was told"),
        ("hub.challenge" = String, Query, description = "What to answer: letters, digits, `-` and `_`"),
    ),
    responses(
        (status = 200, description = "The challenge", body = String, content_type = "text/plain"),
        (status = 401, description = "The token does not fit", body = V1Error),
        (status = 404, description = "No such provider, or one that does not ask", body = V1Error),
    ),
)]
pub(crate) async fn challenge(
    State(api): State<Api>,
    provider: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let provider = provider.map(|Path(provider)| provider).unwrap_or_default();
    let found = found(&api, &provider)?;
    let answer = found.challenge(&query.unwrap_or_default());
    if answer == Err(BadReceipt::NotSupported) && found.has_receipts() {
        return Err(ApiError::not_found("This provider's receipts come by POST: it takes no GET here"));
    }
    Ok(answer.map_err(|problem| bad_receipt(&provider, problem))?.into_response())
}

fn found(api: &Api, provider: &str) -> Result<Arc<dyn Provider>, ApiError> {
    let found = api.parts.providers.iter().find(|known| known.name() == provider).cloned();
    found.ok_or_else(|| ApiError::not_found("No such provider"))
}

async fn take(api: &Api, provider: &str, secret: Option<&str>, request: Request) -> Result<Response, ApiError> {
    let found = found(api, provider)?;
    let (parts, body) = request.into_parts();
    let too_large = |_| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Body must be at most 256 KiB");
    let body = to_bytes(body, LARGEST).await.map_err(too_large)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", api.parts.public_url.as_deref().unwrap_or_default());
    let headers = header_pairs(&parts.headers);
    let query = parts.uri.query().unwrap_or_default();
    let events = found
        .receipts(&ReceiptRequest { url: &url, secret, query, headers: &headers, body: &body })
        .map_err(|problem| bad_receipt(provider, problem))?;
    for together in events.chunks(TOGETHER) {
        try_join_all(together.iter().map(|event| receive(api, provider, event.clone()))).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Hands one event to the store.
pub(crate) async fn receive(api: &Api, provider: &str, event: ReceiptEvent) -> Result<(), BatchError> {
    let receipt = Receipt {
        id: Uuid::now_v7(),
        provider: provider.to_owned(),
        message_id: event.message_id,
        attempt: event.attempt,
        status: event.status,
        detail: event.detail,
        received: api.parts.clock.now(),
    };
    match api.receipts.call(receipt).await? {
        Received::Applied { dispatch, moved } => {
            telemetry::receipt(provider, if moved { "applied" } else { "repeated" });
            if moved && dispatch.status == DispatchStatus::Delivered {
                telemetry::delivered(&dispatch);
            }
        }
        Received::Parked => telemetry::receipt(provider, "parked"),
    }
    Ok(())
}

fn header_pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(pair).collect()
}

fn bad_receipt(provider: &str, problem: BadReceipt) -> ApiError {
    match problem {
        BadReceipt::NotSupported => ApiError::not_found("This provider sends no receipts"),
        BadReceipt::Forged => {
            telemetry::receipt(provider, "forged");
            warn!(provider.name = provider, "a receipt's signature or secret does not fit");
            ApiError::new(StatusCode::UNAUTHORIZED, "invalid_signature", "Invalid signature")
        }
        BadReceipt::Malformed => {
            telemetry::receipt(provider, "malformed");
            ApiError::field("The body is not a receipt of this provider")
        }
        BadReceipt::NotYet => {
            telemetry::receipt(provider, "not_yet");
            ApiError::unavailable()
        }
    }
}
