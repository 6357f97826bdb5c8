//! The tenant of a v1 request: the only way for a handler to get one.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use common::tenancy::Tenant;

use crate::core::Api;
use crate::error::ApiError;

/// `x-api-key` and `x-project-id`, checked.
#[derive(Debug)]
pub(crate) struct Authenticated(pub(crate) Tenant);

impl FromRequestParts<Api> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let tenant = api.parts.directory.authenticate(header("x-api-key"), header("x-project-id")).await?;
        Ok(Self(tenant))
    }
}
