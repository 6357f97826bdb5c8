//! Bodies as they went out, as the values that schemas speak of: JSON, forms, forms of several parts.

use serde_json::{Map, Value};
use wiremock::Request;

use crate::specs::Spec;

pub(crate) fn content_type(request: &Request) -> &str {
    let header = request.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim()
}

/// The body of a request, read as its content type says.
pub(crate) fn value(spec: &Spec, schema: &Value, request: &Request) -> Value {
    match content_type(request) {
        "application/json" => request.body_json().expect("JSON"),
        "application/x-www-form-urlencoded" => {
            let fields = form_urlencoded::parse(&request.body).into_owned().collect();
            typed(spec, schema, fields)
        }
        "multipart/form-data" => typed(spec, schema, parts(request)),
        other => panic!("a body of {other}"),
    }
}

/// Everything in a form is text: each field becomes what its schema wants it to be.
fn typed(spec: &Spec, schema: &Value, fields: Vec<(String, String)>) -> Value {
    let properties = &spec.resolve(schema)["properties"];
    let mut typed = Map::new();
    for (name, text) in fields {
        let kind = properties.get(&name).map(|property| &spec.resolve(property)["type"]);
        match kind.and_then(Value::as_str) {
            Some("integer" | "number" | "boolean") => {
                let value = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
                assert_eq!(typed.insert(name.clone(), value), None, "{name} stands there twice");
            }
            Some("array") => match typed.entry(name).or_insert_with(|| Vec::<Value>::new().into()) {
                Value::Array(items) => items.push(text.into()),
                other => panic!("{other}"),
            },
            _ => assert_eq!(typed.insert(name.clone(), text.into()), None, "{name} stands there twice"),
        }
    }
    typed.into()
}

/// Names and texts of a form of several parts (RFC 7578).
fn parts(request: &Request) -> Vec<(String, String)> {
    let header = request.headers.get("content-type").and_then(|value| value.to_str().ok()).expect("a content type");
    let (_, boundary) = header.split_once("boundary=").expect("a boundary");
    let body = std::str::from_utf8(&request.body).expect("text");
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let mut parts = body.split(&delimiter);
    assert_eq!(parts.next(), Some(""), "nothing stands before the first part");
    let mut fields = Vec::new();
    for part in parts {
        if part.starts_with("--") {
            return fields;
        }
        let (head, text) = part.split_once("\r\n\r\n").expect("a head");
        let (_, name) = head.split_once("name=\"").expect("a name");
        let name = name.split('"').next().unwrap_or_default();
        fields.push((name.to_owned(), text.strip_suffix("\r\n").expect("a line's end").to_owned()));
    }
    panic!("the last part has no end");
}
