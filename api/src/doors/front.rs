//! What stands before every door: the body is read and checked, time is limited, panics are caught, and whatever goes
//! wrong is told in the door's own shape.

use std::future::ready;

use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::core::Api;
use crate::error::{Shape, reshape};
use crate::extract::{require_form, require_json};
use crate::middleware;

/// What the bodies of a door's POSTs must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Json,
    Form,
    /// Its handlers read the bytes themselves.
    Raw,
}

/// The routes of a door, made safe and told in one shape.
pub(crate) fn front(shape: Shape, routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
    guard(routes).layer(map_response(move |response: Response| ready(reshape(shape, response))))
}

/// The same, but for the shape.
pub(super) fn guard(routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
    routes.layer(CatchPanicLayer::custom(middleware::panicked)).layer(from_fn(middleware::patience))
}

impl Body {
    /// Lets only such bodies through.
    pub(crate) fn require(self, routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
        match self {
            Self::Json => routes.layer(from_fn(require_json)),
            Self::Form => routes.layer(from_fn(require_form)),
            Self::Raw => routes,
        }
    }
}
