//! What stands before every door: the body is read and checked, time is limited, panics are caught, and whatever goes
//! wrong is told in the door's own shape.
//!
//! It is one layer, not one for each of these: every layer of a router is cloned with all that lies below it, request by
//! request.

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;

use crate::core::Api;
use crate::error::{Shape, reshape};
use crate::extract::{has_form, has_json};
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
pub(crate) fn front(shape: Shape, body: Body, routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
    let front =
        move |request: Request, next: Next| async move { reshape(shape, guarded(body.then(request, next)).await) };
    routes.layer(from_fn(front))
}

impl Body {
    /// Lets only such bodies through, where something else comes before they are looked at.
    pub(crate) fn require(self, routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
        match self {
            Self::Raw => routes,
            Self::Json | Self::Form => routes.layer(from_fn(move |request, next| self.then(request, next))),
        }
    }

    async fn then(self, request: Request, next: Next) -> Response {
        let checked = match self {
            Self::Json => has_json(request).await,
            Self::Form => has_form(request).await,
            Self::Raw => Ok(request),
        };
        match checked {
            Ok(request) => next.run(request).await,
            Err(refused) => refused.into_response(),
        }
    }
}
