//! As little as an API can do: JSON in, JSON out.

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::failure::Outcome;

#[derive(Debug, Serialize, Deserialize)]
struct Echoed {
    target: String,
    channel: String,
}

pub(super) async fn run() -> Outcome {
    super::serve::serve(Router::new().route("/api/v1/otp/send", post(echo))).await
}

async fn echo(Json(echoed): Json<Echoed>) -> (StatusCode, Json<Echoed>) {
    (StatusCode::ACCEPTED, Json(echoed))
}
