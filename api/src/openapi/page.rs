//! The document as it is served, and the page that shows it. The page works without a network: all of it comes from here.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use utoipa_swagger_ui::{Config, serve};

use super::v1::V1Error;
use crate::error::ApiError;

/// Nothing from elsewhere, and nothing that is written into the page itself. Swagger UI has its icons in data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("page.html");
const START: &str = include_str!("page.js");

/// The document's text: written when somebody asks for it first.
static DOCUMENT: LazyLock<String> = LazyLock::new(crate::router::document);

/// Read this document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object)),
)]
pub(crate) async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Read this document as a page
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs",
    responses((status = 200, description = "The page", body = str, content_type = "text/html")),
)]
pub(crate) async fn page() -> Response {
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

/// Read a part of that page
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docsFile",
    params(("file" = String, Path, description = "`start.js`, `swagger-ui-bundle.js` or `swagger-ui.css`")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/javascript"), (String = "text/css"),
        )),
        (status = 404, description = "No such file", body = V1Error),
    ),
)]
pub(crate) async fn asset(file: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let file = file.map(|Path(file)| file).unwrap_or_default();
    if file == "start.js" {
        return Ok(([(CONTENT_TYPE, "text/javascript")], START).into_response());
    }
    let is_used = ["swagger-ui-bundle.js", "swagger-ui.css"].contains(&file.as_str());
    let found = serve(&file, Arc::new(Config::default())).ok().flatten().filter(|_| is_used);
    let found = found.ok_or_else(|| ApiError::not_found("No such file"))?;
    let mut response = found.bytes.into_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    if let Ok(content_type) = found.content_type.parse() {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if found.gzpipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
