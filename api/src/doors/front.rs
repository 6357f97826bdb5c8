//! What stands before every door: the body is read and checked, time is limited, panics are caught, and whatever goes
//! wrong is told in the door's own shape.
//!
//! It is one layer, not one for each of these: every layer of a router is cloned with all that lies below it, request by
//! request.

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use utoipa_axum::router::OpenApiRouter;

use crate::core::Api;
use crate::error::{Shape, reshape};
use crate::extract::{require_form, require_json};
use crate::middleware::guarded;

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
    let front = move |request: Request, next: Next| async move { reshape(shape, guarded(request, next).await) };
    routes.layer(from_fn(front))
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
