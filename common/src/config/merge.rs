//! Laying settings over one another. The defaults say which settings there are and of what type each is.

use std::path::Path;

use config::{Config as Reader, File, FileFormat};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Words in a key's name that make its value a secret.
const SECRET_WORDS: [&str; 6] = ["root", "previous", "password", "secret", "token", "api_key"];

pub(super) fn parse_toml(text: &str) -> Result<Value, String> {
    let source = File::from_str(text, FileFormat::Toml);
    let parsed = Reader::builder().add_source(source).build().map_err(|error| error.to_string())?;
    parsed.try_deserialize().map_err(|error| error.to_string())
}

/// The settings so far and what was wrong with them.
pub(super) struct Merged {
    tree: Value,
    problems: Vec<String>,
}

impl Merged {
    pub(super) fn new(defaults: Value) -> Self {
        Self { tree: defaults, problems: Vec::new() }
    }

    pub(super) fn add_file(&mut self, file: &Path) {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {name}: {error}"));
        match text.and_then(|text| parse_toml(&text).map_err(|error| format!("{name}: {error}"))) {
            Ok(tree) => self.lay_over(&tree, &name.to_string()),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn lay_over(&mut self, tree: &Value, source: &str) {
        for (section, values) in tree.as_object().into_iter().flatten() {
            let Some(values) = values.as_object() else {
                self.problems.push(format!("{section} in {source} must be a table such as [{section}]"));
                continue;
            };
            for (key, value) in values {
                self.set(&format!("{section}.{key}"), value.clone(), source);
            }
        }
    }

    /// Sets a value that came as text, read as whatever the default is.
    pub(super) fn set_text(&mut self, path: &str, text: &str, source: &str) {
        let value = match self.default_of(path) {
            Some(Value::Number(_)) => text.trim().parse::<u64>().map(Value::from).map_err(|_| "a whole number"),
            Some(Value::Bool(_)) => text.trim().parse::<bool>().map(Value::from).map_err(|_| "true or false"),
            Some(Value::Array(_)) => Ok(split(text)),
            _ => Ok(Value::from(text)),
        };
        match value {
            Ok(value) => self.set(path, value, source),
            Err(what) => self.problems.push(format!("{source} must be {what}, not {text:?}")),
        }
    }

    fn default_of(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.tree, |tree, key| tree.get(key))
    }

    fn set(&mut self, path: &str, value: Value, source: &str) {
        if !path.starts_with("providers.") && self.default_of(path).is_none() {
            self.problems.push(format!("{source}: there is no setting {path}; config.default.toml lists all"));
            return;
        }
        let mut place = &mut self.tree;
        for key in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Some(object) = place.as_object_mut() else { return };
            place = object.entry(key).or_insert(Value::Null);
        }
        *place = value;
    }

    pub(super) fn finish(self) -> (Value, Vec<String>) {
        (self.tree, self.problems)
    }
}

fn split(text: &str) -> Value {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect()
}

/// Reads sections out of the merged settings, one problem for each field that does not fit.
pub(super) struct Sections<'a> {
    pub(super) tree: &'a Value,
    pub(super) defaults: &'a Value,
}

impl Sections<'_> {
    pub(super) fn section<T: DeserializeOwned>(&self, name: &str, problems: &mut Vec<String>) -> Option<T> {
        let values = self.tree.get(name)?;
        if let Ok(section) = serde_json::from_value(values.clone()) {
            return Some(section);
        }
        let defaults = self.defaults.get(name)?;
        for (key, value) in values.as_object()? {
            let mut alone = defaults.clone();
            alone[key] = value.clone();
            if let Err(error) = serde_json::from_value::<T>(alone) {
                problems.push(format!("{name}.{key}: {error}"));
            }
        }
        None
    }
}

pub(super) fn show(tree: &Value) -> String {
    let mut lines = Vec::new();
    for (section, values) in tree.as_object().into_iter().flatten() {
        show_into(&mut lines, section, values);
    }
    lines.join("\n")
}

fn show_into(lines: &mut Vec<String>, path: &str, value: &Value) {
    if let Some(object) = value.as_object() {
        for (key, value) in object {
            show_into(lines, &format!("{path}.{key}"), value);
        }
        return;
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    lines.push(format!("{path} = {}", masked(key, value)));
}

fn masked(key: &str, value: &Value) -> Value {
    let is_secret = SECRET_WORDS.iter().any(|word| key.contains(word));
    match value {
        Value::String(text) if is_secret && !text.is_empty() => Value::from("***"),
        Value::Array(items) => items.iter().map(|item| masked(key, item)).collect(),
        Value::String(text) => Value::from(mask_url(text)),
        other => other.clone(),
    }
}

/// A URL without its password.
#[must_use]
pub(super) fn mask_url(text: &str) -> String {
    let masked = text.split_once("://").and_then(|(scheme, rest)| {
        let (user, host) = rest.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:***@{host}"))
    });
    masked.unwrap_or_else(|| text.to_owned())
}
