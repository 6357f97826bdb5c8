//! What every request passes: a span, a sampled log line, a metric, and a net for panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::{Instrument, error, info, info_span, warn};

use crate::core::Api;
use crate::error::ApiError;
use crate::telemetry;

/// How long a request may take in all, its body included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Logs refusals and failures always, successes one in `log.sample`. Route templates only: paths may name people.
pub(crate) async fn observe(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    // For layers below, which are made before there is an API.
    request.extensions_mut().insert(api.clone());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = known(request.method());
    let span = info_span!("request", http.method = method, http.route = route);
    let began = Instant::now();
    let answer = async {
        let response = next.run(request).await;
        let nth = api.answered.fetch_add(1, Ordering::Relaxed);
        log(&response, began.elapsed(), nth, api.parts.log_sample);
        response
    };
    let response = answer.instrument(span).await;
    telemetry::answered(&route, method, response.status().as_u16(), began.elapsed());
    response
}

/// A client may call its method anything; metrics and logs know only those that there are (RFC 9110 and RFC 5789).
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

fn log(response: &Response, took: Duration, nth: u64, sample: u64) {
    let status = response.status();
    let (code, took_ms) = (status.as_u16(), took.as_secs_f64() * 1000.0);
    if status.is_server_error() {
        warn!(http.status = code, took_ms, "failed");
    } else if status.is_client_error() {
        info!(http.status = code, took_ms, "refused");
    } else if nth.is_multiple_of(sample) {
        info!(http.status = code, took_ms, http.sample = sample, "answered");
    }
}

/// Ends a request that takes too long, and one whose handler panics.
pub(crate) async fn guarded(answer: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(PATIENCE, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => panicked(panic.as_ref()),
        Err(_) => ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The request took too long").into_response(),
    }
}

/// A panic is a bug: the client gets a plain 500, the log the rest.
fn panicked(panic: &(dyn Any + Send)) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    error!(panic = words.unwrap_or("unknown"), "a handler panicked");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error").into_response()
}
