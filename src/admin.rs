//! What operators read: health in words and metrics. Served where the public does not come.

use api::Health;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

pub(crate) fn router(health: Health, metrics: PrometheusHandle) -> Router {
    let ready = |State(health): State<Health>| async move {
        let readiness = health.readiness().await;
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, readiness.in_words())
    };
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(health)
        .route("/metrics", get(move || std::future::ready(metrics.render())))
}
