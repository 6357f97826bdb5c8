//! What stands in a provider's settings and must not come back in its words: all that is not known to be public.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::words::{HIDDEN, without};

/// Fields that say nothing which a thief would like. A new field counts as a secret until it stands here.
const PUBLIC: [&str; 22] = [
    "base_url",
    "account_url",
    "balance_path",
    "channels",
    "domain",
    "email",
    "from",
    "host",
    "kind",
    "language",
    "method",
    "originator",
    "phone_number_id",
    "port",
    "region",
    "template",
    "tls",
    "username",
    "version",
    "whatsapp_from",
    "whatsapp_language",
    "whatsapp_template",
];
/// Shorter ones are in too many words, and no secrets worth the name.
const SHORTEST: usize = 4;
/// From this length on, what follows the word Bearer is a token.
const SHORTEST_TOKEN: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct Mask(Vec<SecretString>);

impl Mask {
    pub(crate) fn of(settings: &Value) -> Self {
        let mut found = Vec::new();
        collect("", settings, &mut found);
        found.retain(|secret| secret.len() >= SHORTEST);
        // Longest first: one may be a part of another.
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(found.into_iter().map(SecretString::from).collect())
    }

    pub(crate) fn hide(&self, words: &str) -> String {
        let words = self.0.iter().fold(words.to_owned(), |words, secret| without(&words, secret.expose_secret()));
        without_logins(&words)
    }
}

fn collect(field: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| collect(field, value, found)),
        Value::Array(items) => items.iter().for_each(|item| collect(field, item, found)),
        Value::String(text) => {
            found.extend(password_in(text));
            if !PUBLIC.contains(&field) {
                found.push(text.trim().to_owned());
            }
        }
        Value::Number(number) if !PUBLIC.contains(&field) => found.push(number.to_string()),
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// The password in a URL, as it is written there and as it is sent.
fn password_in(text: &str) -> Vec<String> {
    let url = Url::parse(text).ok();
    let Some(written) = url.as_ref().and_then(Url::password) else { return Vec::new() };
    vec![written.to_owned(), percent_decode_str(written).decode_utf8_lossy().into_owned()]
}

/// Words that quote our `Authorization`, without what stands behind its scheme.
fn without_logins(words: &str) -> String {
    let mut hidden = words.to_owned();
    let mut before = "";
    for word in words.split([' ', '"', '\'', ',', '\\']).filter(|word| !word.is_empty()) {
        let is_login = match before.to_ascii_lowercase().as_str() {
            "basic" => BASE64_STANDARD.decode(word).is_ok_and(|login| login.contains(&b':')),
            "bearer" => word.len() >= SHORTEST_TOKEN,
            _ => false,
        };
        if is_login {
            hidden = hidden.replace(word, HIDDEN);
        }
        before = word;
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(settings: &Value, words: &str, expected: &str) {
        assert_eq!(Mask::of(settings).hide(words), expected);
    }

    #[test]
    fn what_is_not_known_to_be_public_is_hidden() {
        let settings = json!({"kind": "twilio", "auth_token": "swordfish", "from": "+15005550006", "n": 123_456});
        check(&settings, "twilio +15005550006: SWORDFISH is wrong, 123456", "twilio +15005550006: *** is wrong, ***");
        check(&json!({"headers": {"x": "Key open-sesame"}}), "no Key open-sesame", "no ***");
        check(&json!({"secrets": ["whsec_a", "whsec_abc"]}), "whsec_abc", "***");
    }

    #[test]
    fn a_password_in_a_url_is_hidden_in_both_its_spellings() {
        let settings = json!({"url": "smtps://otp:p%40ssword@mx.example.com"});
        check(&settings, "p%40ssword or p@ssword at mx.example.com", "*** or *** at mx.example.com");
    }

    #[test]
    fn a_login_that_is_quoted_is_hidden() {
        let said = r#"got "Basic QUMxOnN3b3JkZmlzaA==", Basic realm, Bearer eyJhbGciOiJIUzI1NiJ9.e30 and Bearer token"#;
        check(&json!({}), said, r#"got "Basic ***", Basic realm, Bearer *** and Bearer token"#);
    }

    #[test]
    fn very_short_values_leave_words_alone() {
        check(&json!({"password": "p", "auth_token": "ab"}), "a problem about p", "a problem about p");
    }
}
