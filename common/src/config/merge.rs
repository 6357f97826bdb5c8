//! Laying settings over one another. The defaults say which settings there are and of what type each is.

use std::path::Path;

use config::{Config as Reader, File, FileFormat};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(super) fn parse_toml(text: &str) -> Result<Value, String> {
    let source = File::from_str(text, FileFormat::Toml);
    let parsed = Reader::builder().add_source(source).build().map_err(|error| without_text(&error.to_string()))?;
    parsed.try_deserialize().map_err(|error| without_text(&error.to_string()))
}

/// Where and what is wrong in a file, without the line itself, which may hold a secret.
fn without_text(error: &str) -> String {
    let is_quote = |line: &str| {
        let gutter = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        gutter.starts_with('|')
    };
    let lines = error.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_quote(line));
    lines.collect::<Vec<_>>().join(": ")
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
                self.lay(&format!("{section}.{key}"), value, source);
            }
        }
    }

    /// Tables that the defaults know are laid over key by key; everything else replaces what was there.
    fn lay(&mut self, path: &str, value: &Value, source: &str) {
        let is_known_table = !path.starts_with("providers.") && self.default_of(path).is_some_and(Value::is_object);
        match value.as_object().filter(|_| is_known_table) {
            Some(table) => table.iter().for_each(|(key, value)| self.lay(&format!("{path}.{key}"), value, source)),
            None => self.set(path, value.clone(), source),
        }
    }

    /// Sets a value that came as text, read as whatever the default is.
    pub(super) fn set_text(&mut self, path: &str, text: &str, source: &str) {
        let value = match self.default_of(path) {
            Some(Value::Number(_)) => text.trim().parse::<u64>().map(Value::from).map_err(|_| "a whole number"),
            Some(Value::Bool(_)) => text.trim().parse::<bool>().map(Value::from).map_err(|_| "true or false"),
            // What is more than names, such as routes.rules, comes as JSON.
            Some(Value::Array(_)) if text.trim_start().starts_with('[') => {
                serde_json::from_str(text).map_err(|_| "a list of names, or a JSON array")
            }
            Some(Value::Array(_)) => Ok(split(text)),
            _ => Ok(Value::from(text)),
        };
        match value {
            Ok(value) => self.set(path, value, source),
            // A list may be one of secrets.
            Err(what) if self.default_of(path).is_some_and(Value::is_array) => {
                self.problems.push(format!("{source} must be {what}"));
            }
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
    /// A section; where fields do not fit, with the defaults in their place, so that the rest can be looked at too.
    pub(super) fn section<T: DeserializeOwned>(&self, name: &str, problems: &mut Vec<String>) -> Option<T> {
        let values = self.tree.get(name)?;
        if let Ok(section) = serde_json::from_value(values.clone()) {
            return Some(section);
        }
        let mut sound = self.defaults.get(name)?.clone();
        lay_fitting::<T>(&mut sound, &mut Vec::new(), name, values, problems);
        serde_json::from_value(sound).ok()
    }
}

/// Lays value after value over a sound section; what does not fit is a problem and is left out.
fn lay_fitting<T: DeserializeOwned>(
    sound: &mut Value,
    path: &mut Vec<String>,
    name: &str,
    values: &Value,
    problems: &mut Vec<String>,
) {
    for (key, value) in values.as_object().into_iter().flatten() {
        path.push(key.clone());
        let known = path.iter().try_fold(&*sound, |tree, key| tree.get(key));
        if value.is_object() && known.is_some_and(Value::is_object) {
            lay_fitting::<T>(sound, path, name, value, problems);
        } else {
            let mut alone = sound.clone();
            if let Some(place) = place(&mut alone, path) {
                *place = value.clone();
            }
            match serde_json::from_value::<T>(alone.clone()) {
                Ok(_) => *sound = alone,
                Err(error) => problems.push(format!("{name}.{}: {}", path.join("."), plainly(&error.to_string()))),
            }
        }
        path.pop();
    }
}

fn place<'a>(tree: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(tree, |tree, key| Some(tree.as_object_mut()?.entry(key).or_insert(Value::Null)))
}

/// What a value must be, without the value, which may be a secret.
fn plainly(error: &str) -> String {
    let is_about_value = error.starts_with("invalid ") || error.starts_with("unknown variant");
    match error.rsplit_once(", expected ").filter(|_| is_about_value) {
        Some((_, expected)) => format!("must be {}", wanted(expected)),
        None => error.to_owned(),
    }
}

fn wanted(expected: &str) -> String {
    match expected {
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" | "u64" | "usize" => "a whole number, not below 0".to_owned(),
        "a map" => "a table".to_owned(),
        table if table.starts_with("struct ") => "a table".to_owned(),
        names => names.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_told_of_by_its_place_alone() {
        for (text, place) in [
            ("[keys]\nroot = verysecret\n", "line 2, column 8"),
            ("[keys]\nroot = \"verysecret\nprevious = []\n", "line 2"),
            ("[keys]\nverysecret\n", "line 2"),
            ("[keys]\nroot = \"verysecret\" and more\n", "line 2"),
            ("[keys]\nroot = \"a\"\nroot = \"verysecret\"\n", "line 3"),
        ] {
            let problem = parse_toml(text).expect_err("no TOML");
            assert!(problem.contains(place) && !problem.contains("verysecret"), "{problem}");
            assert!(!problem.contains(['\n', '|', '^']), "{problem}");
        }
    }

    #[test]
    fn what_a_value_must_be_is_said_plainly() {
        for (error, plain) in [
            ("invalid type: string \"a, expected b\", expected a sequence", "must be a list"),
            ("invalid value: integer `-1`, expected u64", "must be a whole number, not below 0"),
            ("invalid type: string \"5\", expected struct Rule", "must be a table"),
            ("unknown variant `xml`, expected `plain` or `json`", "must be `plain` or `json`"),
            ("missing field `channel`", "missing field `channel`"),
            ("invalid socket address syntax", "invalid socket address syntax"),
        ] {
            assert_eq!(plainly(error), plain);
        }
    }
}
