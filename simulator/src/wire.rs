//! Requests as they came and answers as they go: what all vendors' files read and write with.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::otp::time::Timestamp;
use serde_json::Value;

use crate::behaviour::Refusal;

/// A request, below its vendor's prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// With the prefix, as it was called.
    pub(crate) whole_path: &'a str,
    /// Begins with a slash.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// What the account is refused for at present.
    pub(crate) standing: Option<Refusal>,
    pub(crate) now: Timestamp,
}

/// The fields of a form.
pub(crate) type Fields = BTreeMap<String, String>;

impl Asked<'_> {
    /// A header's text, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether credentials that are right otherwise are still taken.
    pub(crate) fn is_welcome(&self) -> bool {
        self.standing != Some(Refusal::Credentials)
    }

    pub(crate) fn is_broke(&self) -> bool {
        self.standing == Some(Refusal::Balance)
    }

    pub(crate) fn has_basic(&self, user: &str, password: &str) -> bool {
        let expected = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.is_welcome() && self.header("authorization").strip_prefix("Basic ") == Some(expected.as_str())
    }

    pub(crate) fn has_bearer(&self, token: &str) -> bool {
        self.is_welcome() && self.header("authorization").strip_prefix("Bearer ") == Some(token)
    }

    pub(crate) fn media_type(&self) -> &str {
        self.header("content-type").split(';').next().unwrap_or_default().trim()
    }

    /// The body as JSON, when it says that it is some.
    pub(crate) fn json(&self) -> Option<Value> {
        let body = serde_json::from_slice::<Value>(self.body).ok()?;
        (self.media_type() == "application/json" && body.is_object()).then_some(body)
    }

    pub(crate) fn form(&self) -> Option<Fields> {
        let fields = form_urlencoded::parse(self.body).into_owned().collect();
        (self.media_type() == "application/x-www-form-urlencoded").then_some(fields)
    }

    /// The texts of a form of several parts (RFC 7578).
    pub(crate) fn multipart(&self) -> Option<Fields> {
        if self.media_type() != "multipart/form-data" {
            return None;
        }
        let (_, boundary) = self.header("content-type").split_once("boundary=")?;
        let delimiter = format!("--{}", boundary.trim_matches('"'));
        let body = std::str::from_utf8(self.body).ok()?;
        let mut parts = body.split(&delimiter);
        parts.next().filter(|preamble| preamble.trim().is_empty())?;
        let mut fields = Fields::new();
        for part in parts {
            if part.starts_with("--") {
                return Some(fields);
            }
            let (head, text) = part.split_once("\r\n\r\n")?;
            let (_, name) = head.split_once("name=\"")?;
            let (name, _) = name.split_once('"')?;
            fields.insert(name.to_owned(), text.strip_suffix("\r\n")?.to_owned());
        }
        None
    }

    pub(crate) fn query_field(&self, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(self.query.as_bytes());
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    }
}

/// What a vendor answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string() }.with("content-type", "application/json")
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }.with("content-type", "text/plain; charset=utf-8")
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }.with("content-type", "text/html; charset=utf-8")
    }

    pub(crate) const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let response = Response::builder().status(self.status);
        let response = self.headers.iter().fold(response, |response, (name, value)| response.header(*name, value));
        response.body(Body::from(self.body)).unwrap_or_default()
    }
}

/// The text at a JSON pointer, or nothing.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A field that is not among those known at these JSON pointers, by its whole name.
pub(crate) fn stranger(value: &Value, known: &[(&str, &[&str])]) -> Option<String> {
    let strange = |(at, names): &(&str, &[&str])| {
        let fields = value.pointer(at)?.as_object()?;
        let name = fields.keys().find(|name| !names.contains(&name.as_str()))?;
        Some(format!("{at}/{name}").trim_start_matches('/').replace('/', "."))
    };
    known.iter().find_map(strange)
}

/// A field of a form that is not among those known; one that ends in a colon stands for all that begin with it.
pub(crate) fn strange_field<'a>(fields: &'a Fields, known: &[&str]) -> Option<&'a str> {
    let is_known =
        |name: &str| known.iter().any(|known| *known == name || (known.ends_with(':') && name.starts_with(known)));
    fields.keys().map(String::as_str).find(|name| !is_known(name))
}

/// `+` and 8 to 15 digits.
pub(crate) fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(is_digits)
}

/// 8 to 15 digits: a number as some vendors want it.
pub(crate) fn is_digits(text: &str) -> bool {
    (8..=15).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// As far as a vendor looks at once: something at a domain.
pub(crate) fn is_address(text: &str) -> bool {
    let is_plain = !text.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '<' | '>'));
    let domain = text.split_once('@').filter(|(local, _)| !local.is_empty()).map(|(_, domain)| domain);
    is_plain && domain.is_some_and(|domain| domain.contains('.') && !domain.contains('@') && !domain.starts_with('.'))
}

pub(crate) fn is_url(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// So many random hexadecimal digits, at most 32.
pub(crate) fn hex_id(digits: usize) -> String {
    let all = format!("{:032x}", rand::random::<u128>());
    all.chars().take(digits).collect()
}

pub(crate) fn uuid() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

/// `Thu, 24 Aug 2023 05:01:45 +0000`.
pub(crate) fn rfc2822(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_ms()).unwrap_or_default();
    jiff::fmt::rfc2822::to_string(&at.to_zoned(jiff::tz::TimeZone::UTC)).unwrap_or_default()
}

/// `2026-11-21 06:20:00`.
pub(crate) fn plain_time(at: Timestamp) -> String {
    at.rfc3339().replace('T', " ").chars().take("2026-11-21 06:20:00".len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strangers_are_found_where_they_stand() {
        let known: &[(&str, &[&str])] = &[("", &["a", "list"]), ("/list/0", &["b"])];
        assert_eq!(stranger(&json!({"a": 1, "list": [{"b": 2}]}), known), None);
        assert_eq!(stranger(&json!({"a": 1, "list": [{"c": 2}]}), known).as_deref(), Some("list.0.c"));
        let fields = Fields::from([("v:own".to_owned(), String::new()), ("to".to_owned(), String::new())]);
        assert_eq!((strange_field(&fields, &["to", "v:"]), strange_field(&fields, &["to"])), (None, Some("v:own")));
    }

    #[test]
    fn a_form_of_several_parts_is_read_or_it_is_none() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "multipart/form-data; boundary=xx".parse().expect("a value"));
        let read = |body: &[u8]| {
            let asked = Asked {
                method: "POST",
                whole_path: "/",
                path: "/",
                query: "",
                headers: &headers,
                body,
                standing: None,
                now: Timestamp::default(),
            };
            asked.multipart()
        };
        let part = |name: &str, text: &str| {
            format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let body = [part("a", "1\r\n2"), part("b", ""), "--xx--\r\n".to_owned()].concat();
        let fields = Fields::from([("a".to_owned(), "1\r\n2".to_owned()), ("b".to_owned(), String::new())]);
        assert_eq!(read(body.as_bytes()), Some(fields));
        for broken in [&body[..body.len() - 6], "", "a=1", "--xx\r\n\r\n"] {
            assert_eq!(read(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn numbers_and_addresses_are_what_they_say() {
        assert!(is_e164("+14155552671") && is_digits("14155552671"));
        assert!(
            !is_e164("14155552671") && !is_digits("+14155552671") && !is_digits("0415555") && !is_e164("+1415555x671")
        );
        assert!(is_address("ann@example.com"));
        for bad in ["ann", "ann@example", "@example.com", "a@b.example,c@d.example", "a b@c.example", "a@b@c.example"] {
            assert!(!is_address(bad), "{bad}");
        }
        assert_eq!(hex_id(8).len(), 8);
        assert_eq!(rfc2822(Timestamp::from_ms(1_692_853_305_000)), "Thu, 24 Aug 2023 05:01:45 +0000");
        assert_eq!(plain_time(Timestamp::from_ms(1_692_853_305_000)), "2023-08-24 05:01:45");
    }
}
