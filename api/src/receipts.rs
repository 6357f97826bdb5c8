//! Receipts: `POST /receipts/{provider}`. The provider's own file checks and reads them; the store takes them in batches.

use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use common::batch::BatchError;
use common::otp::receipt::Received;
use common::otp::rows::Receipt;
use common::otp::status::DispatchStatus;
use providers::{BadReceipt, ReceiptEvent, ReceiptRequest};
use tracing::warn;
use uuid::Uuid;

use crate::core::Api;
use crate::error::ApiError;
use crate::telemetry;

/// Vendors that batch their receipts send more than our own callers may.
const LARGEST: usize = 256 * 1024;

/// Takes receipts: 204 for known, unknown, late and repeated ones alike, 401 for forged ones.
pub(crate) async fn post(
    State(api): State<Api>,
    provider: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let provider = provider.map(|Path(provider)| provider).unwrap_or_default();
    let found = api.parts.providers.iter().find(|known| known.name() == provider).cloned();
    let found = found.ok_or_else(|| ApiError::not_found("No such provider"))?;
    let (parts, body) = request.into_parts();
    let too_large = |_| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Body must be at most 256 KiB");
    let body = to_bytes(body, LARGEST).await.map_err(too_large)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", api.parts.public_url.as_deref().unwrap_or_default());
    let headers = header_pairs(&parts.headers);
    let query = parts.uri.query().unwrap_or_default();
    let events = found
        .receipts(&ReceiptRequest { url: &url, query, headers: &headers, body: &body })
        .map_err(|problem| bad_receipt(&provider, problem))?;
    for event in events {
        receive(&api, &provider, event).await?;
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
            warn!(provider.name = provider, "a receipt's signature does not fit");
            ApiError::new(StatusCode::UNAUTHORIZED, "invalid_signature", "Invalid signature")
        }
        BadReceipt::Malformed => {
            telemetry::receipt(provider, "malformed");
            ApiError::field("The body is not a receipt of this provider")
        }
    }
}
