//! What hooks share: codes that another system made and checks itself. They are delivered here and take no guesses.

use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::target::{BadTarget, Strictness, Target};
use common::tenancy::Tenant;

use crate::error::ApiError;
use crate::fields::Fields;

const LONGEST_KIND: usize = 64;

/// A target to send to.
pub(super) fn target(tenant: &Tenant, channel: Channel, text: &str) -> Result<Target, BadTarget> {
    let strictness = Strictness::Valid { magic: tenant.mode == Mode::Sandbox };
    let target = Target::parse(channel, text, None, strictness)?;
    if tenant.mode == Mode::Live && target.is_magic() {
        return Err(BadTarget::MagicInLive);
    }
    Ok(target)
}

/// What kind of message it is, in the other system's words. Each kind has a record id of its own, so that none supersedes
/// another.
pub(super) fn kind<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, ApiError> {
    let kind = fields.required_text(name)?;
    let is_kind = kind.len() <= LONGEST_KIND && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let problem = || ApiError::field(format!("{name} must be 1 to {LONGEST_KIND} lower-case letters and underscores"));
    is_kind.then_some(kind).ok_or_else(problem)
}

/// A code, where there is one.
pub(super) fn code(fields: &Fields, name: &str) -> Result<Option<Code>, ApiError> {
    let text = fields.text(name)?.map(str::trim).filter(|text| !text.is_empty());
    let code = text.map(|text| Code::parse(text).map_err(|problem| ApiError::field(format!("{name} {problem}"))));
    code.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).expect("object")
    }

    #[test]
    fn a_kind_is_a_short_word_that_cannot_lead_elsewhere() {
        assert_eq!(kind(&fields(r#"{"k":"login_code_valid"}"#), "k"), Ok("login_code_valid"));
        for bad in ["", " ", "Signup", "a:b", "a b", "sms\\u0000", &"a".repeat(65)] {
            let problem = kind(&fields(&format!(r#"{{"k":"{bad}"}}"#)), "k").expect_err(bad);
            assert!(problem.message.starts_with("k "), "{}", problem.message);
        }
        assert!(kind(&fields("{}"), "k").is_err());
    }

    #[test]
    fn a_code_keeps_its_zeros_and_an_empty_one_is_none() {
        let read = |json| code(&fields(json), "c").map(|code| code.map(|code| code.reveal().to_owned()));
        assert_eq!(read(r#"{"c":"000123"}"#), Ok(Some("000123".to_owned())));
        for none in ["{}", r#"{"c":null}"#, r#"{"c":""}"#, r#"{"c":" "}"#] {
            assert_eq!(read(none), Ok(None), "{none}");
        }
        for bad in [r#"{"c":123456}"#, r#"{"c":"12a456"}"#, r#"{"c":"123"}"#, r#"{"c":"12345678901"}"#] {
            assert!(read(bad).is_err_and(|problem| problem.message.starts_with("c must be")), "{bad}");
        }
    }
}
