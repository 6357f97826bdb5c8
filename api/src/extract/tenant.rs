//! The tenant of a request that carries a key: the only way for a handler to get one.

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

/// `x-api-key` alone, checked: the project is the key's.
#[derive(Debug)]
pub(crate) struct Keyed(pub(crate) Tenant);

impl FromRequestParts<Api> for Keyed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let key = parts.headers.get("x-api-key").and_then(|value| value.to_str().ok());
        Ok(Self(api.parts.directory.authenticate_key(key).await?))
    }
}
