//! A request by configuration: its settings, and how they become a request for one message.

use std::collections::BTreeMap;

use minijinja::{ErrorKind, Value};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use super::engine::{Engine, Place};
use crate::http;
use crate::settings::Settings;

const ENDPOINT: &str = "must be https:// without credentials; http:// needs allow_http = true";
const ONE_LINE: &str = "must be one line of plain characters";
const PLAIN: &str = "text/plain; charset=utf-8";

type Templates = BTreeMap<String, String>;

pub(super) struct Outgoing {
    method: Method,
    url: String,
    allow_http: bool,
    query: Templates,
    headers: Templates,
    body: Body,
}

enum Body {
    None,
    Json(serde_json::Value),
    Form(Templates),
    Text { content_type: String, template: String },
}

/// Who we say that we are. Anything else goes by headers.
#[derive(Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) token: Option<SecretString>,
}

impl Login {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let (username, password) = (settings.text("username"), settings.secret("password"));
        let token = settings.secret("token");
        if password.is_some() && username.is_none() {
            settings.problem("username", "set it beside password, for basic authentication");
        }
        if token.is_some() && username.is_some() {
            settings.problem("token", "set token (Bearer), or username and password (Basic), or neither");
        }
        let is_one_line = |token: &SecretString| HeaderValue::from_str(token.expose_secret()).is_ok();
        if !token.as_ref().is_none_or(is_one_line) {
            settings.problem("token", ONE_LINE);
        }
        Self { username, password, token }
    }

    fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match (&self.username, &self.token) {
            (Some(username), _) => {
                request.basic_auth(username, self.password.as_ref().map(ExposeSecret::expose_secret))
            }
            (None, Some(token)) => request.bearer_auth(token.expose_secret()),
            (None, None) => request,
        }
    }
}

impl Outgoing {
    /// Reads the settings of a request; `None` when there is no URL.
    pub(super) fn read(settings: &mut Settings<'_>, method: Method, allow_http: bool) -> Option<Self> {
        let method = settings.parsed("method", "must be GET, POST or PUT").unwrap_or(method);
        if ![Method::GET, Method::POST, Method::PUT].contains(&method) {
            settings.problem("method", "must be GET, POST or PUT");
        }
        let headers = settings.texts("headers").unwrap_or_default();
        if headers.keys().any(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            settings.problem("headers", "each name must be one that a header may have");
        }
        let query = settings.texts("query").unwrap_or_default();
        let body = body(settings, &method);
        let url = settings.text("url")?;
        Some(Self { method, url, allow_http, query, headers, body })
    }

    /// What this request has no headers of, it takes from the other.
    pub(super) fn with_headers_of(mut self, other: &Self) -> Self {
        if self.headers.is_empty() {
            self.headers.clone_from(&other.headers);
        }
        self
    }

    /// The server alone, to see whether it answers.
    pub(super) fn server(&self, engine: &Engine, fields: &Value) -> Result<Url, ErrorKind> {
        let mut url = self.url(engine, fields)?;
        url.set_path("/");
        url.set_query(None);
        Ok(url)
    }

    fn url(&self, engine: &Engine, fields: &Value) -> Result<Url, ErrorKind> {
        let filled = engine.fill(Place::Url, &self.url, fields)?;
        let mut url = http::endpoint(&filled, self.allow_http).ok_or(ErrorKind::InvalidOperation)?;
        let query = filled_all(engine, &self.query, fields)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// The request with a message's fields filled in.
    pub(super) fn request(
        &self,
        client: &Client,
        login: &Login,
        engine: &Engine,
        fields: &Value,
    ) -> Result<RequestBuilder, ErrorKind> {
        let mut request = client.request(self.method.clone(), self.url(engine, fields)?);
        request = match &self.body {
            Body::None => request,
            Body::Json(tree) => request.json(&engine.fill_tree(tree, fields)?),
            Body::Form(form) => request.form(&filled_all(engine, form, fields)?),
            Body::Text { content_type, template } => {
                let place = if content_type.contains("xml") { Place::Xml } else { Place::Text };
                request.header(CONTENT_TYPE, content_type).body(engine.fill(place, template, fields)?)
            }
        };
        for (name, value) in filled_all(engine, &self.headers, fields)? {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ErrorKind::InvalidOperation)?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| ErrorKind::InvalidOperation)?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        Ok(login.apply(request))
    }
}

impl Outgoing {
    /// Each template that cannot be filled from these fields, by the name of its setting, and what to do about it.
    pub(super) fn problems(&self, engine: &Engine, fields: &Value, inherits_headers: bool) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let fill = |place, template: &str| engine.fill(place, template, fields);
        let named = |template: &str, problem| advice(engine, template, fields, problem);
        match fill(Place::Url, &self.url) {
            Err(problem) => found.push(("url".to_owned(), named(&self.url, problem))),
            Ok(url) if http::endpoint(&url, self.allow_http).is_none() => {
                found.push(("url".to_owned(), ENDPOINT.into()))
            }
            Ok(_) => {}
        }
        let headers = Some(&self.headers).filter(|_| !inherits_headers).into_iter().flatten();
        let mut texts: Vec<_> = self.query.iter().map(|(name, text)| (format!("query.{name}"), text)).collect();
        match &self.body {
            Body::None => {}
            Body::Json(tree) => json_problems("json", tree, engine, fields, &mut found),
            Body::Form(form) => texts.extend(form.iter().map(|(name, text)| (format!("form.{name}"), text))),
            Body::Text { template, .. } => texts.push(("body".to_owned(), template)),
        }
        for (name, text) in headers {
            if fill(Place::Text, text).is_ok_and(|value| HeaderValue::from_str(&value).is_err()) {
                found.push((format!("headers.{name}"), ONE_LINE.to_owned()));
            }
            texts.push((format!("headers.{name}"), text));
        }
        let tried = texts.into_iter().filter_map(|(field, text)| {
            let problem = fill(Place::Text, text).err()?;
            Some((field, named(text, problem)))
        });
        found.extend(tried);
        found
    }

    /// Whether its headers are those of the other.
    pub(super) fn has_headers_of(&self, other: &Self) -> bool {
        self.headers == other.headers
    }
}

fn json_problems(
    path: &str,
    tree: &serde_json::Value,
    engine: &Engine,
    fields: &Value,
    found: &mut Vec<(String, String)>,
) {
    match tree {
        serde_json::Value::Object(members) => {
            for (name, tree) in members {
                json_problems(&format!("{path}.{name}"), tree, engine, fields, found);
            }
        }
        serde_json::Value::Array(items) => {
            for (nth, tree) in items.iter().enumerate() {
                json_problems(&format!("{path}[{nth}]"), tree, engine, fields, found);
            }
        }
        serde_json::Value::String(template) => {
            if let Err(problem) = engine.fill_tree(tree, fields) {
                found.push((path.to_owned(), advice(engine, template, fields, problem)));
            }
        }
        _ => {}
    }
}

fn advice(engine: &Engine, template: &str, fields: &Value, problem: ErrorKind) -> String {
    match (problem, engine.unknown(template, fields)) {
        (ErrorKind::UndefinedError, Some(name)) => format!("its template names {name}, which there is not"),
        (problem, _) => format!("its template cannot be filled: {problem}"),
    }
}

/// What comes out empty is left out.
fn filled_all<'a>(
    engine: &Engine,
    templates: &'a Templates,
    fields: &Value,
) -> Result<Vec<(&'a str, String)>, ErrorKind> {
    let filled = templates.iter().map(|(name, text)| Ok((name.as_str(), engine.fill(Place::Text, text, fields)?)));
    let filled: Result<Vec<_>, ErrorKind> = filled.collect();
    Ok(filled?.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

fn body(settings: &mut Settings<'_>, method: &Method) -> Body {
    let (json, form, text) = (settings.value("json"), settings.texts("form"), settings.text("body"));
    let content_type = settings.text("content_type");
    if content_type.is_some() && text.is_none() {
        settings.problem("content_type", "it belongs to body; json and form have their own");
    }
    let found = [json.is_some(), form.is_some(), text.is_some()].into_iter().filter(|is_set| *is_set).count();
    if found > 1 || (found > 0 && *method == Method::GET) {
        settings.problem("body", "set one of json, form and body, and none with GET");
    }
    match (json, form, text) {
        (Some(tree), _, _) => Body::Json(tree),
        (_, Some(form), _) => Body::Form(form),
        (_, _, Some(template)) => {
            Body::Text { content_type: content_type.unwrap_or_else(|| PLAIN.to_owned()), template }
        }
        _ => Body::None,
    }
}
