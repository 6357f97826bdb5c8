//! Supabase's payloads: which codes they carry, and whom each is for.

use common::otp::code::Code;

use crate::doors::hooks;
use crate::error::ApiError;
use crate::fields::Fields;

const EMAIL_CHANGE: &str = "email_change";

/// A code and whom it is for.
pub(super) struct Letter {
    pub(super) to: String,
    pub(super) code: Code,
    /// Which part of its message it is.
    pub(super) part: &'static str,
}

impl Letter {
    const fn whole(to: String, code: Code) -> Self {
        Self { to, code, part: "" }
    }
}

pub(super) fn read_sms(payload: &Fields) -> Result<(String, Letter), ApiError> {
    let sms = payload.object("sms")?;
    let code = hooks::code(&sms, "otp")?.ok_or_else(|| ApiError::field("otp is required"))?;
    let kind = match sms.text("sms_type")? {
        None | Some("") => "sms".to_owned(),
        Some(_) => format!("sms:{}", hooks::kind(&sms, "sms_type")?),
    };
    let phone = sms.required_text("phone")?.trim();
    Ok((kind, Letter::whole(format!("+{}", phone.trim_start_matches('+')), code)))
}

/// A change of address has a code for each of the two, or one for the new one alone: who holds the old mailbox must not
/// confirm the new one. Despite its name, `token_new` is no newer one of `token` (supabase.com/docs, Send Email Hook).
pub(super) fn read_email(payload: &Fields) -> Result<(String, Vec<Letter>), ApiError> {
    let (user, data) = (payload.object("user")?, payload.object("email_data")?);
    let kind = hooks::kind(&data, "email_action_type")?.to_owned();
    let (token, token_new) = (hooks::code(&data, "token")?, hooks::code(&data, "token_new")?);
    let address = |name: &str| user.required_text(name).map(str::to_owned);
    let letters = match (kind == EMAIL_CHANGE, token, token_new) {
        (true, Some(old), Some(new)) => {
            vec![Letter::whole(address("email")?, old), Letter { to: address("new_email")?, code: new, part: ":new" }]
        }
        (true, one, other) => {
            let codes = one.or(other).into_iter();
            codes.map(|code| Ok(Letter::whole(address("new_email")?, code))).collect::<Result<_, ApiError>>()?
        }
        (false, Some(code), _) => vec![Letter::whole(address("email")?, code)],
        (false, None, _) => Vec::new(),
    };
    Ok((kind, letters))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is sent to whom, as part, target and code.
    fn letters(payload: &Value) -> Result<Vec<(&'static str, String, String)>, String> {
        let payload = Fields::parse(payload.to_string().as_bytes()).expect("object");
        let letters = read_email(&payload).map_err(|problem| problem.message)?.1.into_iter();
        Ok(letters.map(|letter| (letter.part, letter.to, letter.code.reveal().to_owned())).collect())
    }

    fn email(action: &str, token: &str, token_new: &str) -> Value {
        let data = json!({ "email_action_type": action, "token": token, "token_new": token_new });
        json!({ "user": { "email": "old@example.com", "new_email": "new@example.com" }, "email_data": data })
    }

    #[track_caller]
    fn check(action: &str, (token, token_new): (&str, &str), expected: &[(&'static str, &str, &str)]) {
        let expected = expected.iter().map(|(part, to, code)| (*part, (*to).to_owned(), (*code).to_owned()));
        assert_eq!(letters(&email(action, token, token_new)), Ok(expected.collect()), "{action}");
    }

    #[test]
    fn each_code_goes_to_its_own_address() {
        let (old, new) = (("", "old@example.com", "0001"), (":new", "new@example.com", "0002"));
        check("signup", ("0001", ""), &[old]);
        check("magiclink", ("0001", "0002"), &[old]);
        check("email_change", ("0001", "0002"), &[old, new]);
        check("email_change", ("0001", ""), &[("", "new@example.com", "0001")]);
        check("email_change", ("", "0002"), &[("", "new@example.com", "0002")]);
        check("email_change", ("", ""), &[]);
        check("password_changed_notification", ("", ""), &[]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut alone = email("email_change", "0001", "");
        alone["user"] = json!({ "email": "old@example.com", "new_email": null });
        assert_eq!(letters(&alone), Err("new_email is required".to_owned()));
        alone["user"] = json!([]);
        assert_eq!(letters(&alone), Err("user must be an object".to_owned()));
    }
}
