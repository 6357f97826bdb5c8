//! Reading the fields of a request one by one, so that each mistake is named after its field.

use std::fmt;
use std::net::IpAddr;

use common::otp::code::Code;
use common::otp::guess::DOOR_PREFIX;
use serde_json::{Map, Value};

use crate::error::ApiError;

const LONGEST_RECORD: usize = 128;
const LONGEST_TAG: usize = 35;

/// The object in a request's body. Unknown fields are ignored.
pub(crate) struct Fields(Map<String, Value>);

/// They hold codes, targets and tokens: none is shown.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({})", self.0.len())
    }
}

impl Fields {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::field("Body must be a JSON object")),
            Err(error) => Err(ApiError::field(format!("Body is not valid JSON: {error}"))),
        }
    }

    /// A field as it is; `null` is the same as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A string without NUL; absent and `null` are the same.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(ApiError::field(format!("{name} must not contain NUL")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::field(format!("{name} must be a string"))),
        }
    }

    /// A string as a client in JavaScript means it: what is falsy is missing, a whole number is its digits.
    pub(crate) fn loose(&self, name: &str) -> Result<Option<String>, ApiError> {
        let text = match self.get(name) {
            Some(Value::Bool(false)) => None,
            Some(Value::Number(number)) if number.is_u64() => Some(number.to_string()).filter(|digits| digits != "0"),
            None | Some(Value::String(_)) => self.text(name)?.map(str::to_owned),
            Some(_) => return Err(ApiError::field(format!("{name} must be a string or a whole number"))),
        };
        Ok(text.filter(|text| !text.is_empty()))
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<&str, ApiError> {
        let text = self.text(name)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| ApiError::field(format!("{name} is required")))
    }

    /// The object that a field is.
    pub(crate) fn object(&self, name: &str) -> Result<Self, ApiError> {
        match self.get(name) {
            Some(Value::Object(fields)) => Ok(Self(fields.clone())),
            Some(_) => Err(ApiError::field(format!("{name} must be an object"))),
            None => Err(ApiError::field(format!("{name} is required"))),
        }
    }

    /// A list of at most so many objects.
    pub(crate) fn objects(&self, name: &str, most: usize) -> Result<Option<Vec<Self>>, ApiError> {
        let problem = || ApiError::field(format!("{name} must be a list of at most {most} objects"));
        let list = match self.get(name) {
            None => return Ok(None),
            Some(Value::Array(list)) if list.len() <= most => list,
            Some(_) => return Err(problem()),
        };
        let object = |value: &Value| value.as_object().map(|fields| Self(fields.clone()));
        list.iter().map(object).collect::<Option<_>>().map(Some).ok_or_else(problem)
    }

    /// A number within bounds that has no fraction.
    pub(crate) fn whole(&self, name: &str, low: u32, high: u32) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (low..=high).contains(number));
        let problem = || ApiError::field(format!("{name} must be a whole number from {low} to {high}"));
        number.map(Some).ok_or_else(problem)
    }

    /// True or false; absent is false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(ApiError::field(format!("{name} must be true or false"))),
        }
    }

    /// The caller's reference: 1 to 128 characters, none of the reserved ones.
    pub(crate) fn record(&self) -> Result<Option<String>, ApiError> {
        let Some(record) = self.text("recordId")? else { return Ok(None) };
        if record.is_empty() || record.chars().count() > LONGEST_RECORD {
            return Err(ApiError::field("recordId must be 1 to 128 characters"));
        }
        if record.starts_with(DOOR_PREFIX) {
            return Err(ApiError::field("recordId must not begin with \"door:\""));
        }
        Ok(Some(record.to_owned()))
    }

    /// `+1`, `1` or `US`; the number 1 as well.
    pub(crate) fn country_code(&self) -> Result<Option<String>, ApiError> {
        match self.get("countryCode") {
            Some(Value::Number(number)) => match number.as_u64() {
                Some(code @ 1..=999) => Ok(Some(code.to_string())),
                _ => Err(ApiError::field("countryCode must be a calling code such as +1 or a region such as US")),
            },
            _ => Ok(self.text("countryCode")?.map(str::to_owned)),
        }
    }

    pub(crate) fn code(&self) -> Result<Code, ApiError> {
        let text = self.required_text("code")?.trim();
        Code::parse(text).map_err(|problem| ApiError::field(format!("code {problem}")))
    }

    /// A BCP 47 tag.
    pub(crate) fn locale(&self) -> Result<Option<String>, ApiError> {
        let Some(tag) = self.text("locale")? else { return Ok(None) };
        if !is_language_tag(tag) {
            return Err(ApiError::field("locale must be a BCP 47 tag such as en or pt-BR"));
        }
        Ok(Some(tag.to_owned()))
    }

    pub(crate) fn client_ip(&self) -> Result<Option<IpAddr>, ApiError> {
        let Some(text) = self.text("clientIp")? else { return Ok(None) };
        let address = text.trim().parse();
        address.map(Some).map_err(|_| ApiError::field("clientIp must be an IP address"))
    }
}

/// Whether it has the form of a BCP 47 tag.
pub(crate) fn is_language_tag(text: &str) -> bool {
    let is_subtag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    text.len() <= LONGEST_TAG && text.split(['-', '_']).all(is_subtag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).expect("object")
    }

    #[test]
    fn mistakes_are_named_after_their_field() {
        let bad = fields(
            r#"{"target":5,"ttl":1.5,"recordId":"","countryCode":[],"code":"12a4","locale":"e n","clientIp":"x"}"#,
        );
        let messages = [
            bad.text("target").map(|_| ()),
            bad.whole("ttl", 10, 600).map(|_| ()),
            bad.record().map(|_| ()),
            bad.country_code().map(|_| ()),
            bad.code().map(|_| ()),
            bad.locale().map(|_| ()),
            bad.client_ip().map(|_| ()),
        ]
        .map(|result| result.expect_err("mistake").message);
        for (message, field) in
            messages.iter().zip(["target", "ttl", "recordId", "countryCode", "code", "locale", "clientIp"])
        {
            assert!(message.starts_with(field), "{message}");
        }
    }

    #[test]
    fn nul_lone_surrogates_and_other_shapes_are_refused() {
        assert!(fields(r#"{"target":"a\u0000b"}"#).text("target").is_err());
        for body in [r#"{"target":"\ud800"}"#, "[]", "5", "", "{", "\u{feff}{}"] {
            assert!(Fields::parse(body.as_bytes()).is_err(), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert!(Fields::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn loose_fields_are_read_as_javascript_would() {
        for falsy in ["{}", r#"{"phone":null}"#, r#"{"phone":""}"#, r#"{"phone":0}"#, r#"{"phone":false}"#] {
            assert_eq!(fields(falsy).loose("phone"), Ok(None), "{falsy}");
        }
        assert_eq!(fields(r#"{"phone":256700123456}"#).loose("phone"), Ok(Some("256700123456".to_owned())));
        assert_eq!(fields(r#"{"phone":" 1"}"#).loose("phone"), Ok(Some(" 1".to_owned())));
        for other in ["[1]", "{}", "true", "1.5", "-1", "1e3", r#""+1\u0000""#] {
            assert!(fields(&format!(r#"{{"phone":{other}}}"#)).loose("phone").is_err(), "{other}");
        }
    }

    #[test]
    fn reserved_record_ids_are_refused_and_absent_ones_are_none() {
        assert!(fields(r#"{"recordId":"door:login"}"#).record().is_err());
        assert_eq!(fields(r#"{"recordId":null}"#).record(), Ok(None));
    }
}
