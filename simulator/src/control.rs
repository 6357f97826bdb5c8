//! `/_simulate`: how the vendors behave and what they were asked, and orders to behave otherwise, while it runs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::state::{Refused, Shared};

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/_simulate", get(all).post(order_all)).route("/_simulate/{vendor}", get(one).post(order_one))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoSuchVendor(_) => StatusCode::NOT_FOUND,
            Self::Meaningless(_) => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

async fn all(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let shown = shared.vendors().map(|played| (played.vendor.name().to_owned(), played.shown()));
    Json(json!({"vendors": shown.collect::<Map<_, _>>()}))
}

async fn one(State(shared): State<Arc<Shared>>, Path(vendor): Path<String>) -> Result<Json<Value>, Refused> {
    let played = shared.find(&vendor)?;
    let mut shown = played.shown();
    shown["messages"] = played.messages().into();
    Ok(Json(shown))
}

async fn order_all(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Refused> {
    order(&shared, None, &body)?;
    Ok(all(State(shared)).await)
}

async fn order_one(
    State(shared): State<Arc<Shared>>,
    Path(vendor): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    order(&shared, Some(&vendor), &body)?;
    Ok(Json(shared.find(&vendor)?.shown()))
}

fn order(shared: &Shared, vendor: Option<&str>, body: &[u8]) -> Result<(), Refused> {
    let meaningless = || Refused::Meaningless(r#"orders are JSON such as {"answer": "401"}"#.to_owned());
    let orders: Map<String, Value> = serde_json::from_slice(body).map_err(|_| meaningless())?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let orders: Vec<_> = orders.iter().map(|(what, value)| (what.as_str(), text(value))).collect();
    let orders: Vec<_> = orders.iter().map(|(what, value)| (*what, value.as_str())).collect();
    shared.order(vendor, &orders)
}
