//! Reads the settings of one provider: values from files are typed, those from the environment are text; both will do.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use common::otp::channel::Channel;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::http;

const RECEIPT_SECRET_LENGTHS: RangeInclusive<usize> = 16..=128;
const RECEIPT_SECRET_ADVICE: &str =
    "must have 16 to 128 of A-Z, a-z, 0-9, - and _; make one with: openssl rand -hex 24";

/// The fields of `[providers.<name>]` that have not been read yet, and what is wrong with those that were. No problem
/// repeats a value, since any may be a secret.
pub(crate) struct Settings<'a> {
    name: &'a str,
    fields: Map<String, Value>,
    problems: Vec<String>,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(name: &'a str, value: &Value) -> Self {
        let mut settings = Self { name, fields: Map::new(), problems: Vec::new() };
        match value {
            Value::Object(fields) => settings.fields.clone_from(fields),
            _ => settings.problems.push(format!("providers.{name}: must be a table of settings")),
        }
        settings
    }

    pub(crate) const fn name(&self) -> &'a str {
        self.name
    }

    /// Notes what is wrong with a field and what to do about it.
    pub(crate) fn problem(&mut self, field: &str, advice: impl Display) {
        self.problems.push(format!("providers.{}.{field}: {advice}", self.name));
    }

    /// Text; an empty one counts as not set. Numbers will do, since a sender or a password may look like one.
    pub(crate) fn text(&mut self, field: &str) -> Option<String> {
        let text = match self.fields.remove(field)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null => return None,
            _ => {
                self.problem(field, "must be text");
                return None;
            }
        };
        (!text.is_empty()).then_some(text)
    }

    pub(crate) fn secret(&mut self, field: &str) -> Option<SecretString> {
        self.text(field).map(SecretString::from)
    }

    pub(crate) fn parsed<T: FromStr>(&mut self, field: &str, advice: &str) -> Option<T> {
        let parsed = self.text(field)?.parse();
        if parsed.is_err() {
            self.problem(field, advice);
        }
        parsed.ok()
    }

    pub(crate) fn flag(&mut self, field: &str) -> bool {
        match self.fields.remove(field) {
            Some(Value::Bool(flag)) => return flag,
            None | Some(Value::Null) => return false,
            Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => return true,
                "false" | "0" | "" => return false,
                _ => {}
            },
            Some(_) => {}
        }
        self.problem(field, "must be true or false");
        false
    }

    /// Whole seconds.
    pub(crate) fn seconds(&mut self, field: &str, range: RangeInclusive<u64>, default: u64) -> Duration {
        let advice = format!("must be whole seconds from {} to {}", range.start(), range.end());
        let seconds = self.parsed(field, &advice).unwrap_or(default);
        if !range.contains(&seconds) {
            self.problem(field, advice);
        }
        Duration::from_secs(seconds)
    }

    /// A list, or text with commas between its items.
    pub(crate) fn list(&mut self, field: &str) -> Vec<String> {
        let items = match self.fields.remove(field) {
            Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None | Some(Value::Null) => Vec::new(),
            Some(_) => {
                self.problem(field, "must be a list, or text with commas between its items");
                Vec::new()
            }
        };
        items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    }

    pub(crate) fn channels(&mut self, field: &str) -> Vec<Channel> {
        let named = self.list(field);
        let mut channels: Vec<Channel> = named.iter().filter_map(|name| name.parse().ok()).collect();
        if channels.is_empty() || channels.len() != named.len() {
            self.problem(field, "list the channels that it carries: sms, email, whatsapp");
        }
        channels.sort_unstable();
        channels.dedup();
        channels
    }

    fn no_json(&mut self, field: &str) {
        let variable = format!("{}__{field}", self.name.replace('.', "__")).to_uppercase();
        let advice = format!("what stands there (or in OTPD_PROVIDERS__{variable}) is no JSON: set it to a table");
        self.problem(field, advice);
    }

    /// A table or a list, or such a thing as JSON.
    pub(crate) fn value(&mut self, field: &str) -> Option<Value> {
        let value = match self.fields.remove(field)? {
            Value::Null => return None,
            Value::String(json) => {
                let Ok(value) = serde_json::from_str(&json) else {
                    self.no_json(field);
                    return None;
                };
                value
            }
            value => value,
        };
        if !value.is_object() && !value.is_array() {
            self.problem(field, "must be a table");
            return None;
        }
        Some(value)
    }

    /// Reads a table within these settings. Its problems are named by both names.
    pub(crate) fn inner<T>(&mut self, field: &str, read: impl FnOnce(&mut Settings<'_>) -> T) -> Option<T> {
        let value = self.value(field)?;
        let name = format!("{}.{field}", self.name);
        let mut inner = Settings::new(&name, &value);
        let found = read(&mut inner);
        self.problems.extend(inner.finish());
        Some(found)
    }

    /// A table of texts, or such a table as JSON.
    pub(crate) fn texts(&mut self, field: &str) -> Option<BTreeMap<String, String>> {
        let texts = match self.fields.remove(field)? {
            Value::String(json) if serde_json::from_str::<Value>(&json).is_err() => {
                self.no_json(field);
                return None;
            }
            Value::String(json) => serde_json::from_str(&json),
            value => serde_json::from_value(value),
        };
        if texts.is_err() {
            self.problem(field, "must be a table of texts");
        }
        texts.ok()
    }

    /// The address of the vendor's API, without a slash at its end.
    pub(crate) fn base_url(&mut self, field: &str, default: &str) -> String {
        let base = self.text(field).unwrap_or_else(|| default.to_owned());
        if http::endpoint(&base, false).is_none() {
            self.problem(field, "must be an https:// URL, or http:// on this machine");
        }
        base.trim_end_matches('/').to_owned()
    }

    /// What stands in the address of receipts that nobody signs.
    pub(crate) fn receipt_secret(&mut self) -> Option<SecretString> {
        let secret = self.text("receipt_secret")?;
        let is_plain = secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !is_plain || !RECEIPT_SECRET_LENGTHS.contains(&secret.len()) {
            self.problem("receipt_secret", RECEIPT_SECRET_ADVICE);
        }
        Some(secret.into())
    }

    /// The problems so far, for when not even the kind is known.
    pub(crate) fn finish_early(self) -> Vec<String> {
        self.problems
    }

    /// All problems, those with fields that nobody asked for among them.
    pub(crate) fn finish(mut self) -> Vec<String> {
        for field in std::mem::take(&mut self.fields).keys() {
            self.problem(field, "there is no such setting: correct its name or remove it");
        }
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_from_the_environment_is_read_as_what_is_wanted() {
        let value = json!({"port": "587", "on": "true", "list": "a, b,", "password": 12, "wait": "3", "empty": " "});
        let mut settings = Settings::new("x", &value);
        assert_eq!(settings.parsed::<u16>("port", ""), Some(587));
        assert!(settings.flag("on") && !settings.flag("off"));
        assert_eq!(settings.list("list"), ["a", "b"]);
        assert_eq!(settings.text("password").as_deref(), Some("12"));
        assert_eq!(settings.seconds("wait", 1..=5, 2), Duration::from_secs(3));
        assert_eq!(settings.text("empty"), None);
        assert!(settings.finish().is_empty());
    }

    #[test]
    fn a_receipt_secret_fits_into_a_path() {
        for (secret, fits) in [("0123456789abcdef", true), ("short", false), ("0123456789abcde/", false)] {
            let value = json!({"receipt_secret": secret});
            let mut settings = Settings::new("x", &value);
            assert!(settings.receipt_secret().is_some());
            assert_eq!(settings.finish().is_empty(), fits, "{secret}");
        }
    }

    #[test]
    fn a_table_that_came_as_text_is_json_or_is_told_of() {
        let value = json!({"a": "{\"x\": 1}", "b": "{hunter2", "c": "{hunter2", "d": "7"});
        let mut settings = Settings::new("x.check", &value);
        assert_eq!(settings.value("a"), Some(json!({"x": 1})));
        assert!(settings.value("b").is_none() && settings.texts("c").is_none() && settings.value("d").is_none());
        assert_eq!(
            settings.finish(),
            [
                "providers.x.check.b: what stands there (or in OTPD_PROVIDERS__X__CHECK__B) is no JSON: set it to a table",
                "providers.x.check.c: what stands there (or in OTPD_PROVIDERS__X__CHECK__C) is no JSON: set it to a table",
                "providers.x.check.d: must be a table",
            ]
        );
    }

    #[test]
    fn every_problem_is_named_and_none_repeats_a_value() {
        let mut settings =
            Settings::new("x", &json!({"port": "hunter2", "on": "hunter2", "wait": 9, "other": "hunter2"}));
        let _ = settings.parsed::<u16>("port", "must be a port");
        let _ = settings.flag("on");
        let _ = settings.seconds("wait", 1..=5, 2);
        let problems = settings.finish().join("\n");
        for field in ["port", "on", "wait", "other"] {
            assert!(problems.contains(&format!("providers.x.{field}: ")), "{problems}");
        }
        assert!(!problems.contains("hunter2"));
    }
}
