//! The settings as `otpd config show` prints them: what may be a secret is masked, and in a provider's table that is much.

use serde_json::Value;

const HIDDEN: &str = "***";
/// Words in a key's name that make its value a secret.
const SECRET_WORDS: [&str; 10] =
    ["root", "previous", "password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential"];
/// Tables of a provider whose every text goes to the vendor, secrets among them.
const SENT: [&str; 6] = ["headers", "query", "form", "json", "body", "secrets"];
/// Settings of a provider that may come from the environment as JSON.
const TABLES: [&str; 8] = ["headers", "query", "form", "json", "secrets", "causes", "receipts", "check"];
/// From this length on, a part of a path with letters and digits is taken for a key.
const SHORTEST_KEY: usize = 16;

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    key: &'a str,
    of_provider: bool,
    is_sent: bool,
}

pub(super) fn show(tree: &Value) -> String {
    let mut lines = Vec::new();
    for (section, values) in tree.as_object().into_iter().flatten() {
        let place = Place { key: section, of_provider: section == "providers", is_sent: false };
        show_into(&mut lines, section, place, values);
    }
    lines.join("\n")
}

fn show_into(lines: &mut Vec<String>, path: &str, place: Place<'_>, value: &Value) {
    let parsed = value.as_str().filter(|_| place.of_provider && TABLES.contains(&place.key)).map(from_json);
    let value = parsed.as_ref().unwrap_or(value);
    if let Some(object) = value.as_object() {
        for (key, value) in object {
            show_into(lines, &format!("{path}.{key}"), place.inner(key), value);
        }
        return;
    }
    lines.push(format!("{path} = {}", masked(place, value)));
}

/// A table that came as text.
fn from_json(text: &str) -> Value {
    serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_object() || value.is_array())
        .unwrap_or(HIDDEN.into())
}

impl<'a> Place<'a> {
    fn inner(self, key: &'a str) -> Self {
        // What stands in a table of secrets is one, whatever it is called.
        let is_sent = self.is_sent || (self.of_provider && SENT.contains(&key));
        Self { key, is_sent: is_sent || self.is_secret(), ..self }
    }

    fn is_secret(self) -> bool {
        let key = self.key.to_lowercase().replace('-', "_");
        SECRET_WORDS.iter().any(|word| key.contains(word))
    }
}

fn masked(place: Place<'_>, value: &Value) -> Value {
    let is_secret = place.is_secret() || place.is_sent;
    match value {
        Value::String(text) if text.is_empty() || (place.is_sent && is_template(text)) => value.clone(),
        Value::String(_) | Value::Number(_) if is_secret => Value::from(HIDDEN),
        Value::String(text) if place.of_provider => Value::from(mask_address(text)),
        Value::String(text) => Value::from(mask_url(text)),
        Value::Array(items) => items.iter().map(|item| masked(place, item)).collect(),
        Value::Object(fields) => {
            let inner = |(key, value): (&String, &Value)| (key.clone(), masked(place.inner(key), value));
            Value::Object(fields.iter().map(inner).collect())
        }
        other => other.clone(),
    }
}

/// Whether a text is one expression, which names what is sent and is nothing itself.
fn is_template(text: &str) -> bool {
    let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.is_some_and(|inner| !inner.contains(['{', '}', '"', '\'']))
}

/// A URL without its password, and without what its query calls one.
#[must_use]
pub(super) fn mask_url(text: &str) -> String {
    let is_secret = |key: &str| Place { key, of_provider: false, is_sent: false }.is_secret();
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let login = rest.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host)));
    let (login, rest) = login.map_or((None, rest), |(name, host)| (Some(name), host));
    let login = login.map(|name| format!("{name}:{HIDDEN}@")).unwrap_or_default();
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let query = query.map(|query| format!("?{}", mask_query(query, is_secret))).unwrap_or_default();
    format!("{scheme}://{login}{rest}{query}")
}

/// A URL of a vendor: some take their keys in the query, in the path or as the user.
fn mask_address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (rest, query) = rest.split_once(['?', '#']).map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let mut parts = rest.split('/');
    let host = parts.next().unwrap_or_default();
    let path: String = parts.map(|part| format!("/{}", if is_key(part) { HIDDEN } else { part })).collect();
    let query = query.map(|query| format!("?{}", mask_query(query, |_| true))).unwrap_or_default();
    format!("{scheme}://{login}{host}{path}{query}")
}

fn is_key(part: &str) -> bool {
    let has = |fits: fn(&u8) -> bool| part.as_bytes().iter().any(fits);
    part.len() >= SHORTEST_KEY && has(u8::is_ascii_alphabetic) && has(u8::is_ascii_digit) && !part.contains("{{")
}

fn mask_query(query: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, value)) if is_secret(key) && !is_template(value) => format!("{key}={HIDDEN}"),
        None if is_secret(pair) && !is_template(pair) => HIDDEN.to_owned(),
        _ => pair.to_owned(),
    });
    masked.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_goes_to_a_vendor_is_not_shown() {
        let form = json!({ "token": 12_345, "to": "{{ target }}", "list": [{ "pin": "hush4" }] });
        let shown = show(&json!({ "providers": { "own": {
            "kind": "http",
            "url": "https://hush1:x@a.example/v1/0123456789abcdef0123/send?k=hush2&to={{ target }}",
            "headers": { "authorization": "Bearer hush3", "X-API-Key": "hush5", "x": "{{ secrets.key }}" },
            "form": form,
            "json": "{\"login\": {\"name\": \"hush6\"}}",
            "query": "{\"k\": \"hush7\"",
            "body": "<password>hush8</password>",
            "check": { "url": "https://a.example/balance?k=hush9", "headers": { "a": "hush10" } },
            "causes": { "throttled": "status == 429" },
        } } }));
        assert!(!shown.contains("hush") && !shown.contains("12345") && !shown.contains("0123456789"), "{shown}");
        for line in [
            r#"providers.own.kind = "http""#,
            r#"providers.own.url = "https://***@a.example/v1/***/send?k=***&to={{ target }}""#,
            r#"providers.own.form.to = "{{ target }}""#,
            r#"providers.own.headers.x = "{{ secrets.key }}""#,
            r#"providers.own.check.url = "https://a.example/balance?k=***""#,
            r#"providers.own.causes.throttled = "status == 429""#,
        ] {
            assert!(shown.contains(line), "{line} in {shown}");
        }
    }

    #[test]
    fn addresses_of_servers_lose_their_passwords_alone() {
        for (url, shown) in [
            (
                "postgres://otpd:hunter2@db:5432/otpd?sslmode=disable",
                "postgres://otpd:***@db:5432/otpd?sslmode=disable",
            ),
            ("postgres://otpd:p/w?d@db/otpd", "postgres://otpd:***@db/otpd"),
            ("postgres://otpd@db/otpd?password=hunter2", "postgres://otpd@db/otpd?password=***"),
            ("amqp://a:b@c:5672/%2f", "amqp://a:***@c:5672/%2f"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(mask_url(url), shown);
        }
    }
}
