//! Refusals as Twilio words them: `{"code","message","more_info","status"}`.
//!
//! | HTTP | code | when |
//! |---|---|---|
//! | 400 | 60200 | a parameter is missing or not as it must be, or there is no body |
//! | 400 | 20005 | the project has no tokens left |
//! | 401 | 20003 | account SID and auth token are missing or wrong |
//! | 403 | 60204 | `CustomCode` from credentials that may not bring codes |
//! | 403 | 60605 | the project does not send to this country |
//! | 404 | 20404 | no such route, service or verification, or it has ended |
//! | 405 | 20004 | another method |
//! | 429 | 60202 | the checks of this verification are used up |
//! | 429 | 60203 | too soon after the last send to this target, or too many of them |
//! | 429 | 20429 | any other limit: of the project, of an address, of wrong codes |
//!
//! What Twilio has no number for is 20000 and the status: 20408, 20413, 20415, 20500, 20503.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::error::ApiError;

const NO_TOKENS: u32 = 20_005;
const METHOD_NOT_ALLOWED: u32 = 20_004;
const BAD_CREDENTIALS: u32 = 20_003;
const BAD_PARAMETER: u32 = 60_200;
const MAX_CHECKS: u32 = 60_202;
const MAX_SENDS: u32 = 60_203;
const OWN_CODE: u32 = 60_204;
const COUNTRY: u32 = 60_605;

/// A parameter that is not as it must be.
pub(super) fn invalid(name: &str, problem: &str) -> ApiError {
    ApiError::field(format!("Invalid parameter `{name}`: {problem}"))
}

/// A verification that has ended, another's and one that never was look alike.
pub(super) fn unknown() -> ApiError {
    ApiError::not_found("The requested resource was not found")
}

/// The checks of a verification are used up until then.
pub(super) fn used_up(retry_after: Duration) -> ApiError {
    ApiError::limited("too_many_attempts", retry_after, None)
}

pub(super) fn own_code() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "own_codes_not_allowed", "Custom code not allowed")
}

pub(super) fn country(country: &str) -> ApiError {
    let message = format!("`To` is in {country}, where this project does not send");
    ApiError::new(StatusCode::FORBIDDEN, "country_not_allowed", message)
}

/// The shape of this door.
pub(crate) fn shape(error: &ApiError) -> (StatusCode, Value) {
    let status = error.status.as_u16();
    let (code, message) = match error.code {
        "invalid_request" => (BAD_PARAMETER, error.message.as_str()),
        "insufficient_tokens" => (NO_TOKENS, error.message.as_str()),
        "invalid_api_key" => (BAD_CREDENTIALS, "Authenticate"),
        "own_codes_not_allowed" => (OWN_CODE, error.message.as_str()),
        "country_not_allowed" => (COUNTRY, error.message.as_str()),
        "method_not_allowed" => (METHOD_NOT_ALLOWED, error.message.as_str()),
        "too_many_attempts" => (MAX_CHECKS, "Max check attempts reached"),
        "cooldown" | "target_limited" | "too_many_sends" => (MAX_SENDS, "Max send attempts reached"),
        _ => (20_000 + u32::from(status), error.message.as_str()),
    };
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    (error.status, json!({ "code": code, "message": message, "more_info": more_info, "status": status }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &ApiError, expected: u32) {
        let (status, body) = shape(error);
        assert_eq!((status, &body["code"], &body["status"]), (error.status, &json!(expected), &json!(status.as_u16())));
        assert_eq!(body["more_info"], format!("https://www.twilio.com/docs/errors/{expected}"));
    }

    #[test]
    fn every_refusal_has_a_number() {
        let limited = |code| ApiError::limited(code, Duration::from_secs(1), None);
        let other = |status, code| ApiError::new(status, code, "");
        check(&invalid("To", "is required"), 60200);
        check(&other(StatusCode::BAD_REQUEST, "insufficient_tokens"), 20005);
        check(&other(StatusCode::UNAUTHORIZED, "invalid_api_key"), 20003);
        check(&own_code(), 60204);
        check(&country("US"), 60605);
        check(&unknown(), 20404);
        check(&ApiError::method_not_allowed(), 20004);
        check(&other(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"), 20413);
        check(&other(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"), 20415);
        check(&used_up(Duration::ZERO), 60202);
        for code in ["cooldown", "target_limited", "too_many_sends"] {
            check(&limited(code), 60203);
        }
        for code in ["rate_limited", "ip_limited", "guesses_limited"] {
            check(&limited(code), 20429);
        }
        check(&ApiError::unavailable(), 20503);
        check(&ApiError::no_provider("sms"), 20503);
    }
}
