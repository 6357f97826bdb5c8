//! Replies and webhooks out of a specification: its examples where it has any, else made of what its schemas say.

use serde_json::{Map, Value, json};

use crate::specs::Spec;

/// Named values of a media type.
pub(crate) fn of_content(spec: &Spec, content: &Value) -> Vec<(String, Value)> {
    if let Some(examples) = content.get("examples").and_then(Value::as_object) {
        return examples.iter().map(|(name, example)| (name.clone(), example["value"].clone())).collect();
    }
    if let Some(example) = content.get("example") {
        return vec![("example".to_owned(), example.clone())];
    }
    content.get("schema").map(|schema| of_schema(spec, schema)).unwrap_or_default()
}

/// One value for each alternative of a schema.
pub(crate) fn of_schema(spec: &Spec, schema: &Value) -> Vec<(String, Value)> {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
    let resolved = spec.resolve(schema);
    if let Some(alternatives) = resolved.get("oneOf").and_then(Value::as_array) {
        return alternatives.iter().flat_map(|alternative| of_schema(spec, alternative)).collect();
    }
    let name = name.or_else(|| resolved["description"].as_str()).unwrap_or("schema");
    vec![(name.to_owned(), sample(spec, resolved))]
}

/// A value that the schema could mean: with every field, by their examples where they have them.
pub(crate) fn sample(spec: &Spec, schema: &Value) -> Value {
    let schema = spec.resolve(schema);
    for word in ["example", "const", "default"] {
        if let Some(value) = schema.get(word) {
            return value.clone();
        }
    }
    for word in ["examples", "enum", "oneOf", "anyOf"] {
        if let Some(first) = schema.get(word).and_then(|listed| listed.get(0)) {
            return if word.ends_with("Of") { sample(spec, first) } else { first.clone() };
        }
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let parts = parts.iter().filter_map(|part| sample(spec, part).as_object().cloned());
        return parts.fold(Map::new(), |whole, part| whole.into_iter().chain(part).collect()).into();
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let field = |(name, property): (&String, &Value)| (name.clone(), sample(spec, property));
        return properties.iter().map(field).collect::<Map<_, _>>().into();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => json!([schema.get("items").map_or(Value::Null, |items| sample(spec, items))]),
        Some("object") => json!({}),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        Some("null") => Value::Null,
        _ => json!("text"),
    }
}
