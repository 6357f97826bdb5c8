//! Every route of the public listener on one screen.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::core::Api;
use crate::doors::v1;
use crate::error::ApiError;
use crate::extract::require_json;
use crate::{middleware, receipts, records};

/// The public routes, without health: that is [`health`] or the admin's, which says more.
pub fn router(api: Api) -> Router {
    let v1 = Router::new()
        .route("/api/v1/otp/send", post(v1::send))
        .route("/api/v1/otp/verify", post(v1::verify))
        .route("/api/v1/otp/cancel", post(v1::cancel))
        .route("/api/v1/otp/records", get(records::list))
        .route("/api/v1/otp/records/{id}", get(records::timeline))
        .route("/api/v1/otp/stats", get(records::stats))
        .route("/api/v1/otp/token-info", get(records::token_info))
        .route("/api/v1/sandbox/messages", get(records::sandbox_messages))
        .layer(from_fn(require_json));
    Router::new()
        .merge(v1)
        .route("/receipts/{provider}", post(receipts::post))
        .fallback(|| async { ApiError::not_found("No such route") })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(api.clone(), middleware::observe))
        .with_state(api)
}

/// Whether it lives and can accept, for load balancers: no more than that is told in public.
pub fn health(api: Api) -> Router {
    Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready)).with_state(api)
}

/// Bare: what is wrong is told on the admin listener.
async fn ready(axum::extract::State(api): axum::extract::State<Api>) -> impl IntoResponse {
    match api.parts.health.readiness().await.ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
}
