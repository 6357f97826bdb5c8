//! Templates that fill requests and conditions that read answers: MiniJinja, with a bound on what one may take.

use std::borrow::Cow;
use std::collections::BTreeSet;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Steps of one evaluation; an honest one takes a few dozen.
const FUEL: u64 = 100_000;
const IN_A_URL: &str = "url";
const PLAIN_IN_URLS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a rendered text goes: its fields are escaped for there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Url,
    Xml,
    Text,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Url => "template.url",
            Self::Xml => "template.xml",
            Self::Text => "template.txt",
        }
    }
}

/// Why an expression cannot be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Kind(ErrorKind),
    Unknown(String),
}

pub(super) struct Engine {
    /// What is not there is an error: it would be sent as nothing.
    filling: Environment<'static>,
    /// What is not there is not there: vendors leave fields out.
    reading: Environment<'static>,
}

impl Engine {
    pub(super) fn new() -> Self {
        let mut filling = Environment::new();
        filling.set_undefined_behavior(UndefinedBehavior::Strict);
        filling.set_auto_escape_callback(|name| match name.rsplit('.').next() {
            Some("url") => AutoEscape::Custom(IN_A_URL.into()),
            Some("xml") => AutoEscape::Html,
            _ => AutoEscape::None,
        });
        filling.set_formatter(write);
        filling.set_fuel(Some(FUEL));
        let mut reading = Environment::new();
        reading.set_undefined_behavior(UndefinedBehavior::Chainable);
        reading.set_fuel(Some(FUEL));
        Self { filling, reading }
    }

    /// A template with its fields filled in.
    pub(super) fn fill(&self, place: Place, template: &str, fields: &Value) -> Result<String, ErrorKind> {
        let filled = self.filling.render_named_str(place.name(), template, fields.clone());
        filled.map_err(|error| error.kind())
    }

    /// A tree whose texts are templates. What comes out empty of its table is left out; a text that is one expression
    /// and nothing else keeps the expression's type.
    pub(super) fn fill_tree(&self, tree: &serde_json::Value, fields: &Value) -> Result<serde_json::Value, ErrorKind> {
        use serde_json::Value::{Array, Object, String as Text};
        Ok(match tree {
            Object(members) => {
                let filled = members.iter().map(|(name, tree)| Ok((name.clone(), self.fill_tree(tree, fields)?)));
                let filled: Result<Vec<_>, ErrorKind> = filled.collect();
                Object(filled?.into_iter().filter(|(_, value)| value.as_str() != Some("")).collect())
            }
            Array(items) => Array(items.iter().map(|tree| self.fill_tree(tree, fields)).collect::<Result<_, _>>()?),
            Text(template) => match expression(template) {
                Some(expression) => self.typed(expression, fields)?,
                None => Text(self.fill(Place::Text, template, fields)?),
            },
            other => other.clone(),
        })
    }

    fn typed(&self, expression: &str, fields: &Value) -> Result<serde_json::Value, ErrorKind> {
        let evaluated = self.filling.compile_expression_owned(expression.to_owned());
        let evaluated = evaluated.and_then(|expression| expression.eval(fields.clone()));
        let value = evaluated.map_err(|error| error.kind())?;
        if value.is_undefined() {
            return Err(ErrorKind::UndefinedError);
        }
        serde_json::to_value(value).map_err(|_| ErrorKind::BadSerialization)
    }

    /// Whether it is an expression at all, and names nothing but these.
    pub(super) fn compile(&self, expression: &str, known: &[&str]) -> Result<(), Unfit> {
        let compiled = self.reading.compile_expression_owned(expression.to_owned());
        let compiled = compiled.map_err(|error| Unfit::Kind(error.kind()))?;
        let is_there = |name: &str| known.contains(&name) || self.reading.globals().any(|(global, _)| global == name);
        let names = compiled.undeclared_variables(false).into_iter().collect::<BTreeSet<_>>();
        names.into_iter().find(|name| !is_there(name)).map_or(Ok(()), |name| Err(Unfit::Unknown(name)))
    }

    /// What a template names and these fields do not have.
    pub(super) fn unknown(&self, template: &str, fields: &Value) -> Option<String> {
        let names = match expression(template) {
            Some(expression) => {
                self.filling.compile_expression_owned(expression.to_owned()).ok()?.undeclared_variables(true)
            }
            None => self.filling.template_from_str(template).ok()?.undeclared_variables(true),
        };
        let is_there = |path: &str| {
            let root = path.split('.').next().unwrap_or(path);
            let found = path.split('.').try_fold(fields.clone(), |value, name| value.get_attr(name).ok());
            found.is_some_and(|found| !found.is_undefined()) || self.filling.globals().any(|(global, _)| global == root)
        };
        names.into_iter().collect::<BTreeSet<_>>().into_iter().find(|path| !is_there(path))
    }

    /// What the expression finds in an answer. One that cannot be evaluated finds nothing.
    pub(super) fn find(&self, expression: &str, answer: &Value) -> Option<Value> {
        let expression = self.reading.compile_expression_owned(expression.to_owned()).ok()?;
        expression.eval(answer.clone()).ok().filter(|found| !found.is_undefined() && !found.is_none())
    }

    pub(super) fn holds(&self, condition: &str, answer: &Value) -> bool {
        self.find(condition, answer).is_some_and(|found| found.is_true())
    }

    /// A text or a number, as text.
    pub(super) fn text(&self, expression: &str, answer: &Value) -> Option<String> {
        let found = self.find(expression, answer)?;
        let text = match found.as_str() {
            Some(text) => Cow::Borrowed(text),
            None if found.is_number() => Cow::Owned(found.to_string()),
            None => return None,
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The expression in a text that is `{{ expression }}` and nothing else.
fn expression(template: &str) -> Option<&str> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim_matches('-').trim())
}

fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if *state.auto_escape() != AutoEscape::Custom(IN_A_URL.into()) {
        return minijinja::escape_formatter(out, state, value);
    }
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let text = value.to_string();
    out.write_str(&utf8_percent_encode(&text, PLAIN_IN_URLS).to_string()).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;
    use minijinja::value::Serde;
    use proptest::prelude::*;
    use serde_json::json;

    fn fields() -> Value {
        context! { target => "+1415", text => "a & <b> ü", empty => "", expires_in => 299 }
    }

    #[test]
    fn fields_are_escaped_for_where_they_go() {
        let engine = Engine::new();
        let fill = |place, template: &str| engine.fill(place, template, &fields());
        let in_url = fill(Place::Url, "https://a.example/{{ target }}?t={{ text }}");
        assert_eq!(in_url.as_deref(), Ok("https://a.example/%2B1415?t=a%20%26%20%3Cb%3E%20%C3%BC"));
        assert_eq!(fill(Place::Xml, "<t>{{ text }}</t>").as_deref(), Ok("<t>a &amp; &lt;b&gt; ü</t>"));
        assert_eq!(fill(Place::Text, "{{ text }}").as_deref(), Ok("a & <b> ü"));
        for place in [Place::Url, Place::Xml, Place::Text] {
            assert_eq!(fill(place, "{{ elsewhere }}"), Err(ErrorKind::UndefinedError));
        }
    }

    #[test]
    fn a_tree_keeps_its_types_and_leaves_out_what_is_empty() {
        let tree = json!({
            "to": ["{{ target }}"], "life": "{{ expires_in }}", "words": "{{ expires_in }} s", "on": true,
            "callback": "{{ empty }}", "number": "{{ target | int }}",
        });
        let filled = Engine::new().fill_tree(&tree, &fields()).expect("a tree");
        assert_eq!(filled, json!({"to": ["+1415"], "life": 299, "words": "299 s", "on": true, "number": 1415}));
        let missing = Engine::new().fill_tree(&json!({"to": "{{ elsewhere }}"}), &fields());
        assert_eq!(missing, Err(ErrorKind::UndefinedError));
    }

    #[test]
    fn conditions_read_what_is_there_and_stand_what_is_not() {
        let engine = Engine::new();
        let json = Value::from(Serde(json!({"a": [{"id": 7, "s": " x "}]})));
        let answer = context! { status => 200, json => json, body => "OK 12" };
        assert!(engine.holds("status == 200 and json.a[0].id in [7, 8]", &answer));
        assert!(!engine.holds("json.b.c.d == 1", &answer) && !engine.holds("json.a | int == 1", &answer));
        assert_eq!(engine.text("json.a[0].id", &answer).as_deref(), Some("7"));
        assert_eq!(engine.text("json.a[0].s", &answer).as_deref(), Some("x"));
        assert_eq!(engine.text("body | split | last", &answer).as_deref(), Some("12"));
        assert_eq!(engine.text("json.a", &answer), None);
        assert_eq!(engine.compile("json.a ==", &["json"]), Err(Unfit::Kind(ErrorKind::SyntaxError)));
        assert_eq!(engine.compile("json.a in range(3)", &["json"]), Ok(()));
        for (condition, unknown) in [("jsno.code == 5", "jsno"), ("json.a == 1 or statsu == 200", "statsu")] {
            assert_eq!(engine.compile(condition, &["json", "status"]), Err(Unfit::Unknown(unknown.to_owned())));
        }
    }

    #[test]
    fn nothing_runs_on_without_end() {
        let endless = "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}";
        assert_eq!(Engine::new().fill(Place::Text, endless, &fields()), Err(ErrorKind::OutOfFuel));
    }

    #[test]
    fn no_field_leaves_its_place_and_no_answer_makes_it_panic() {
        let engine = Engine::new();
        proptest!(|(text in "\\PC{0,40}", expression in "\\PC{0,40}")| {
            let url = engine.fill(Place::Url, "https://a.example/{{ text }}", &context! { text => &text }).expect("a URL");
            let rest = url.trim_start_matches("https://a.example/");
            prop_assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            let _ = engine.text(&expression, &context! { body => &text });
        });
    }
}
