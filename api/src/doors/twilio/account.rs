//! Who calls the Twilio door: account SID and auth token, at the service that is the account's project.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::otp::ids::parse_service_sid;
use common::tenancy::{AuthError, Tenant};
use zeroize::Zeroizing;

use super::errors::unknown;
use crate::core::Api;
use crate::error::ApiError;

/// The credentials of a call, checked, and what its path names.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) tenant: Tenant,
    pub(super) sid: String,
    /// The verification that the path names, in whichever way.
    pub(super) named: Option<String>,
    /// Where this API is, as its callers know it.
    pub(super) base: String,
}

impl FromRequestParts<Api> for Account {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Response> {
        let (sid, tenant) = authenticate(&parts.headers, api).await.map_err(refuse)?;
        // A path that is not UTF-8 names nothing.
        let path = RawPathParams::from_request_parts(parts, api).await.map_err(|_| unknown().into_response())?;
        let named = |wanted: &str| path.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
        let service = named("ServiceSid").as_deref().and_then(parse_service_sid);
        if service != Some(tenant.id().as_uuid()) {
            return Err(unknown().into_response());
        }
        let base = base(parts, api.parts.public_url.as_deref());
        Ok(Self { tenant, sid, named: named("Sid"), base })
    }
}

async fn authenticate(headers: &HeaderMap, api: &Api) -> Result<(String, Tenant), AuthError> {
    let pair = credentials(headers).ok_or(AuthError::Key)?;
    let (sid, token) = pair.split_once(':').ok_or(AuthError::Key)?;
    let tenant = api.parts.directory.authenticate_twilio(sid, token).await?;
    Ok((sid.to_owned(), tenant))
}

/// User and password of Basic authentication (RFC 7617), with the colon between them.
fn credentials(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    String::from_utf8(decoded).ok().map(Zeroizing::new)
}

fn refuse(error: AuthError) -> Response {
    let is_away = matches!(error, AuthError::Store(_));
    let mut response = ApiError::from(error).into_response();
    if !is_away {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"otpd\""));
    }
    response
}

/// `server.public_url`, else where the request came to.
fn base(parts: &Parts, public_url: Option<&str>) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let host = host.or_else(|| parts.uri.authority().cloned());
    format!("http://{}", host.as_ref().map_or("localhost", Authority::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().expect("a header"))]);
        assert_eq!(credentials(&headers).as_ref().map(|pair| pair.as_str()), expected, "{header}");
    }

    #[test]
    fn credentials_are_read_as_rfc_7617_has_them() {
        check("Basic QUM6dG9rZW4=", Some("AC:token"));
        check("basic QUM6dG9rZW4=", Some("AC:token"));
        check("Basic  QUM6dG9rZW4= ", Some("AC:token"));
        for bad in ["", "Basic", "Basic QUM6dG9rZW4", "Basic !", "Basic //4=", "Bearer QUM6dG9rZW4=", "QUM6dG9rZW4="] {
            check(bad, None);
        }
        assert!(credentials(&HeaderMap::new()).is_none());
    }
}
