//! The folder of specifications: where it is, what is in it, and the word that it was used or not.

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Once;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

const VARIABLE: &str = "OTPD_SPECS";

/// One document. References in it are to itself.
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) document: Value,
    draft: Draft,
}

/// Reads a file of the folder; `None`, and a word on it, where no folder is named. A folder that is named must have it.
pub(crate) fn file(name: &str) -> Option<Value> {
    let path = folder()?.join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{VARIABLE}: {}: {error}", path.display()));
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[expect(clippy::disallowed_methods, reason = "the test run's own settings")]
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    static SAID: Once = Once::new();
    SAID.call_once(|| match &folder {
        Some(folder) => say(format_args!("run against {}", folder.display())),
        None => say(format_args!("not run: {VARIABLE} names no folder of the vendors' specifications")),
    });
    folder
}

/// Past the capture of tests that pass: whether it was run is for everybody to see.
fn say(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "conformance: {what}");
}

impl Spec {
    pub(crate) fn load(name: &str) -> Option<Self> {
        let mut document = file(name)?;
        let is_old = document["openapi"].as_str().is_some_and(|version| version.starts_with("3.0"));
        if is_old {
            nullable_as_type(&mut document);
        }
        // The schemas of OpenAPI 3.0 are those of draft 4 with some words of its own.
        let draft = if is_old { Draft::Draft4 } else { Draft::Draft202012 };
        Some(Self { name: name.to_owned(), document, draft })
    }

    /// What a schema is, its reference followed.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            schema = self.document.pointer(pointer).unwrap_or_else(|| panic!("{}: no {reference}", self.name));
        }
        schema
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut root: Map<String, Value> = ["components", "$defs"]
            .into_iter()
            .filter_map(|part| Some((part.to_owned(), self.document.get(part)?.clone())))
            .collect();
        root.insert("allOf".to_owned(), json!([schema]));
        let options = jsonschema::options().with_draft(self.draft).should_validate_formats(true);
        options.build(&root.into()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    pub(crate) fn fits(&self, schema: &Value, instance: &Value) -> bool {
        self.validator(schema).is_valid(instance)
    }

    /// All that the schema finds wrong.
    pub(crate) fn problems(&self, schema: &Value, instance: &Value) -> Vec<String> {
        let validator = self.validator(schema);
        validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// The fields that no schema knows: most of these documents would let them pass.
    pub(crate) fn unknown(&self, schema: &Value, instance: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_unknown(&[schema], instance, "", &mut found);
        found
    }

    fn collect_unknown(&self, schemas: &[&Value], instance: &Value, at: &str, found: &mut Vec<String>) {
        let schemas: Vec<_> = schemas.iter().flat_map(|schema| self.parts(schema, instance)).collect();
        match instance {
            Value::Array(items) => {
                let schemas: Vec<_> = schemas.iter().filter_map(|schema| schema.get("items")).collect();
                items.iter().for_each(|item| self.collect_unknown(&schemas, item, &format!("{at}[]"), found));
            }
            Value::Object(fields) => {
                let is_closed = schemas.iter().any(|schema| schema.get("properties").is_some());
                let is_open =
                    |schema: &&Value| matches!(schema.get("additionalProperties"), Some(open) if *open != false);
                for (name, value) in fields {
                    let known: Vec<_> =
                        schemas.iter().filter_map(|schema| schema.get("properties")?.get(name)).collect();
                    let at = format!("{at}.{name}");
                    if !known.is_empty() {
                        self.collect_unknown(&known, value, &at, found);
                    } else if is_closed && !schemas.iter().any(is_open) {
                        found.push(at.trim_start_matches('.').to_owned());
                    }
                }
            }
            _ => {}
        }
    }

    /// A schema and what it is composed of, as far as it applies to this instance.
    fn parts<'a>(&'a self, schema: &'a Value, instance: &Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        let listed = |word: &str| schema.get(word).and_then(Value::as_array).into_iter().flatten();
        let alternatives = ["oneOf", "anyOf"].into_iter().flat_map(listed).filter(|one| self.fits(one, instance));
        let mut parts = vec![schema];
        parts.extend(listed("allOf").chain(alternatives).flat_map(|part| self.parts(part, instance)));
        parts
    }
}

/// Draft 4 says the same by a list of types.
fn nullable_as_type(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(nullable_as_type),
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true))
                && let Some(Value::String(name)) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([name, "null"]));
            }
            fields.values_mut().for_each(nullable_as_type);
        }
        _ => {}
    }
}

/// Needs no folder: what these checks do not find, they would let pass everywhere.
#[test]
fn what_is_missing_wrong_or_unknown_is_found() {
    let mut document = json!({
        "openapi": "3.0.1",
        "components": {"schemas": {
            "Message": {"required": ["to"], "properties": {"to": {"type": "string", "nullable": true, "maxLength": 3}}},
            "Text": {"allOf": [{"$ref": "#/components/schemas/Message"}, {"properties": {"text": {"type": "string"}}}]},
        }},
    });
    nullable_as_type(&mut document);
    let spec = Spec { name: "own".to_owned(), document, draft: Draft::Draft4 };
    let schema = json!({"oneOf": [{"$ref": "#/components/schemas/Text"}]});
    let check = |instance: Value| (spec.problems(&schema, &instance).len(), spec.unknown(&schema, &instance));
    let nothing = Vec::<String>::new();
    assert_eq!(check(json!({"to": "abc", "text": "x"})), (0, nothing.clone()));
    assert_eq!(check(json!({"to": null})), (0, nothing));
    assert_eq!(check(json!({"to": "abc", "more": 1})), (0, vec!["more".to_owned()]));
    for wrong in [json!({"text": "x"}), json!({"to": "abcd"}), json!({"to": "abc", "text": 1})] {
        assert_ne!(check(wrong).0, 0);
    }
}
