//! One operation of a specification: whether a request is one of it, and the replies that it may have.

use serde_json::Value;
use wiremock::Request;

use crate::bodies::{self, content_type};
use crate::samples;
use crate::specs::Spec;

pub(crate) struct Operation<'a> {
    spec: &'a Spec,
    method: &'a str,
    /// With the path of the server in front.
    path: String,
    operation: &'a Value,
}

/// One reply of an operation: its status, how the document names it, its body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) name: String,
    pub(crate) body: Value,
}

impl Spec {
    pub(crate) fn operation<'a>(&'a self, method: &'a str, template: &str) -> Operation<'a> {
        let paths = &self.document["paths"][template];
        let operation = paths.get(method).unwrap_or_else(|| panic!("{}: no {method} {template}", self.name));
        let servers = [operation, paths, &self.document].into_iter().find_map(|level| level.get("servers"));
        let server = servers.and_then(|servers| servers[0]["url"].as_str()).unwrap_or_default();
        let base = server.split_once("://").map_or("", |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
        let path = format!("{}{}", base.trim_end_matches('/'), if template == "/" { "" } else { template });
        Operation { spec: self, method, path, operation }
    }
}

impl Operation<'_> {
    /// Holds a request to all that the document says of it. `beyond` are the fields that it does not know and the
    /// vendor does, as its documentation says.
    #[track_caller]
    pub(crate) fn admit(&self, request: &Request, beyond: &[&str]) {
        assert_eq!(request.method.as_str().to_ascii_lowercase(), self.method);
        self.admit_path(request);
        self.admit_headers(request);
        self.admit_credentials(request);
        let content = &self.spec.resolve(&self.operation["requestBody"])["content"];
        let schema = content.get(content_type(request)).unwrap_or_else(|| {
            panic!("{} is none of {:?}", content_type(request), content.as_object().map(|content| content.keys()));
        });
        let body = bodies::value(self.spec, &schema["schema"], request);
        assert_eq!(self.spec.problems(&schema["schema"], &body), Vec::<String>::new(), "{body:#}");
        assert_eq!(self.spec.unknown(&schema["schema"], &body), beyond, "fields that are not in {}", self.spec.name);
    }

    #[track_caller]
    fn admit_path(&self, request: &Request) {
        let (wanted, given): (Vec<_>, Vec<_>) =
            (self.path.split('/').collect(), request.url.path().split('/').collect());
        assert_eq!(wanted.len(), given.len(), "{} is not {}", request.url.path(), self.path);
        for (wanted, given) in wanted.iter().zip(given) {
            match wanted.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
                None => assert_eq!(*wanted, given, "{} is not {}", request.url.path(), self.path),
                Some((before, (name, after))) => {
                    let value = given.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                    self.admit_parameter("path", name, value.unwrap_or_else(|| panic!("{given} is not {wanted}")));
                }
            }
        }
    }

    #[track_caller]
    fn admit_headers(&self, request: &Request) {
        for parameter in self.parameters().filter(|parameter| parameter["in"] == "header") {
            let name = parameter["name"].as_str().expect("a name");
            match request.headers.get(name).and_then(|value| value.to_str().ok()) {
                Some(value) => self.admit_parameter("header", name, value),
                None => assert_ne!(parameter["required"], true, "no header {name}"),
            }
        }
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        let listed = self.operation["parameters"].as_array().into_iter().flatten();
        listed.map(|parameter| self.spec.resolve(parameter))
    }

    #[track_caller]
    fn admit_parameter(&self, place: &str, name: &str, value: &str) {
        let parameter = self.parameters().find(|parameter| parameter["in"] == place && parameter["name"] == name);
        let schema = parameter.and_then(|parameter| parameter.get("schema"));
        let problems = schema.map(|schema| self.spec.problems(schema, &value.into()));
        assert_eq!(problems.unwrap_or_default(), Vec::<String>::new(), "{name} in the {place}: {value}");
    }

    /// One of the ways to authenticate that the document offers was taken.
    #[track_caller]
    fn admit_credentials(&self, request: &Request) {
        let offered = self.operation.get("security").or_else(|| self.spec.document.get("security"));
        let offered: Vec<_> = offered.and_then(Value::as_array).into_iter().flatten().collect();
        let names = offered.iter().filter_map(|way| way.as_object()?.keys().next());
        let schemes = &self.spec.document["components"]["securitySchemes"];
        let was_taken = |name: &String| {
            let scheme = &schemes[name];
            let header = scheme["name"].as_str().unwrap_or("authorization");
            let given = request.headers.get(header).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let begins = match (scheme["type"].as_str(), scheme["scheme"].as_str()) {
                (Some("http"), Some(scheme)) => format!("{scheme} "),
                _ => String::new(),
            };
            !given.is_empty() && given.to_ascii_lowercase().starts_with(&begins.to_ascii_lowercase())
        };
        assert!(offered.is_empty() || names.clone().any(was_taken), "{:?}", names.collect::<Vec<_>>());
    }

    /// Every reply that the document describes: its examples, or else one made of its schema.
    pub(crate) fn replies(&self) -> Vec<Reply> {
        let responses = self.operation["responses"].as_object().expect("responses");
        let replies = responses.iter().flat_map(|(status, response)| {
            let status = status.parse().expect("a status");
            let content = &self.spec.resolve(response)["content"]["application/json"];
            samples::of_content(self.spec, content).into_iter().map(move |(name, body)| Reply { status, name, body })
        });
        replies.collect()
    }
}
