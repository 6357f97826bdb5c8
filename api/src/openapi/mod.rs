//! The OpenAPI document. It is made of the router that serves: `routes!` puts a handler into both at once.
//!
//! A handler says in `#[utoipa::path]` what is its own: path, request, replies, special refusals. What all calls of a door
//! share is its [`Door`]. Shapes that doors write are in one file a door; nothing here answers requests but `page`.

pub(crate) mod demo;
pub(crate) mod kratos;
pub(crate) mod login;
pub(crate) mod mobile;
pub(crate) mod oneport;
pub(crate) mod openlyne;
pub(crate) mod page;
pub(crate) mod records;
pub(crate) mod session;
pub(crate) mod supabase;
pub(crate) mod twilio;
pub(crate) mod usage;
pub(crate) mod v1;

use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, Content, Header, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Response,
    ResponseBuilder, Server,
};
use utoipa_axum::router::OpenApiRouter;

use crate::core::Api;

const ABOUT: &str = "Accepts one-time-password requests, delivers the codes by SMS, e-mail or WhatsApp, and verifies them.\n\n\
    Bodies are JSON objects or forms; unknown fields are ignored, and `null` is the same as absent. Times are RFC 3339 in UTC. \
    A refused request creates and costs nothing. An unknown route is 404 and a wrong method 405.";

/// The ways to say who asks. A [`Door`] names those that its calls need, all of them.
pub(crate) const API_KEY: &str = "apiKey";
pub(crate) const PROJECT: &str = "project";
pub(crate) const SESSION: &str = "session";
pub(crate) const BASIC: &str = "basic";

/// What all calls of a door share in the document.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) credentials: &'static [&'static str],
    /// What any of its calls may be refused with, beside what every door refuses.
    pub(crate) refusals: &'static [Refusal],
}

/// A status, and when it is answered.
pub(crate) type Refusal = (&'static str, &'static str);

/// Of doors that carry no key.
pub(crate) const CLOSED: Refusal = ("404", "The door is not bound to a project");
/// Of doors whose every call is limited.
pub(crate) const LIMITED: Refusal = ("429", "Too many for this target or from this address");

/// What all routes for providers share.
pub(crate) const RECEIPTS: Door =
    Door { name: "receipts", about: "For providers: what became of their messages.", credentials: &[], refusals: &[] };
/// What the document's own routes share.
pub(crate) const REFERENCE: Door =
    Door { name: "reference", about: "This document, as JSON and as a page.", credentials: &[], refusals: &[] };
/// What load balancers ask.
pub(crate) const HEALTH: Door = Door {
    name: "health",
    about: "For load balancers: whether it lives and can accept.",
    credentials: &[],
    refusals: &[],
};

impl Door {
    /// Files the group under the door's name, for what refuses nothing.
    pub(crate) fn name(&self, mut group: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
        let document = group.get_openapi_mut();
        let tag = TagBuilder::new().name(self.name).description(Some(self.about)).build();
        document.tags.get_or_insert_default().push(tag);
        for operation in operations(document) {
            operation.tags = Some(vec![self.name.to_owned()]);
        }
        group
    }

    /// Writes all of it into the group's document; refusals have the shape `E`. What a handler says itself stays.
    pub(crate) fn describe<E: ToSchema>(&self, group: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
        let mut group = self.name(group);
        let document = group.get_openapi_mut();
        let mut schemas = vec![(E::name().into_owned(), E::schema())];
        E::schemas(&mut schemas);
        document.components.get_or_insert_with(Components::new).schemas.extend(schemas);
        for operation in operations(document) {
            if !self.credentials.is_empty() {
                let add = |all: SecurityRequirement, name: &&str| all.add(*name, Vec::<String>::new());
                operation.security = Some(vec![self.credentials.iter().fold(SecurityRequirement::default(), add)]);
            }
            for (status, when) in self.refusals(operation) {
                let refusal = || RefOr::T(refusal::<E>(when));
                operation.responses.responses.entry(status.to_owned()).or_insert_with(refusal);
            }
        }
        group
    }

    /// The same for a door of pages, which tell refusals too; that there is nothing is told without a page.
    pub(crate) fn describe_pages<E: ToSchema>(&self, group: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
        let mut group = self.describe::<E>(group);
        let page = || Content::new(Some(ObjectBuilder::new().schema_type(Type::String)));
        for operation in operations(group.get_openapi_mut()) {
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(refusal) = response
                    && status.starts_with(['4', '5'])
                    && status != "404"
                {
                    refusal.content.insert("text/html".to_owned(), page().into());
                }
            }
        }
        group
    }

    fn refusals(&self, operation: &Operation) -> Vec<Refusal> {
        let types = match &operation.request_body {
            Some(RefOr::T(body)) => body.content.len(),
            _ => 0,
        };
        let mut parameters = operation.parameters.iter().flatten();
        let has_query =
            parameters.any(|given| matches!(given, RefOr::T(given) if given.parameter_in == ParameterIn::Query));
        let special = self.refusals.iter().copied();
        let by_need = [
            (has_query, ("400", "A field of the query is not as it must be: the message names it")),
            (types > 0, ("400", "The body or a field of it is not as it must be: the message names it")),
            (!self.credentials.is_empty(), ("401", "Credentials are missing or wrong")),
            (types > 0, ("413", "The body is too large")),
            (types == 1, ("415", "The body is of another Content-Type")),
        ];
        let needed = by_need.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, refusal)| refusal);
        special.chain(needed).chain(ALWAYS).collect()
    }
}

const ALWAYS: [Refusal; 3] = [
    ("408", "The request took longer than 30 s"),
    ("500", "A bug"),
    ("503", "The store is away, or no provider carries the channel: try again later"),
];

fn refusal<E: ToSchema>(when: &str) -> Response {
    let shape = Content::new(Some(Ref::from_schema_name(E::name())));
    ResponseBuilder::new().description(when).content("application/json", shape).build()
}

/// The document without its routes.
pub(crate) fn head() -> OpenApi {
    let licence = LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build();
    let info = InfoBuilder::new().title("otpd").version(env!("CARGO_PKG_VERSION"));
    let mut components = Components::new();
    for (name, scheme) in credentials() {
        components.add_security_scheme(name, scheme);
    }
    OpenApiBuilder::new()
        .info(info.description(Some(ABOUT)).license(Some(licence)).build())
        .servers(Some([Server::new("/")]))
        .components(Some(components))
        .build()
}

fn credentials() -> [(&'static str, SecurityScheme); 4] {
    let header = |name, about| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, about)));
    let http = |scheme, about| HttpBuilder::new().scheme(scheme).description(Some(about));
    let token = "A token that a login answered";
    let account = "An account SID and its auth token: `otpd key create --twilio`";
    [
        (API_KEY, header("x-api-key", "An API key: a live one sends for real, a sandbox one to the inbox")),
        (PROJECT, header("x-project-id", "The project that the key belongs to")),
        (SESSION, SecurityScheme::Http(http(HttpAuthScheme::Bearer, token).bearer_format("JWT").build())),
        (BASIC, SecurityScheme::Http(http(HttpAuthScheme::Basic, account).build())),
    ]
}

/// The whole document as text: sorted, pretty-printed, the same at every run.
pub(crate) fn finish(mut document: OpenApi) -> String {
    for operation in operations(&mut document) {
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response {
                add_headers(status, response);
            }
        }
    }
    // By way of `Value`, whose keys are sorted.
    let mut sorted = serde_json::to_value(&document).unwrap_or_default();
    let items = sorted["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = items.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    let parameters = operations.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten();
    for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
        // An empty field of a query is an absent one.
        parameter["allowEmptyValue"] = Value::Bool(true);
    }
    format!("{sorted:#}")
}

/// Every 429 and 503 says when to try again; a 429 and an accepted send also how the tightest limit stands.
fn add_headers(status: &str, response: &mut Response) {
    let mut add = |name: &str, header| {
        response.headers.entry(name.to_owned()).or_insert(RefOr::T(header));
    };
    if matches!(status, "429" | "503") {
        add("Retry-After", whole_number("Seconds to wait before another try, at least 1"));
    }
    if matches!(status, "201" | "202" | "429") {
        for (name, about) in STANDING {
            add(name, whole_number(about));
        }
    }
}

/// The headers that describe the tightest limit.
const STANDING: [(&str, &str); 3] = [
    ("RateLimit-Limit", "How many calls the tightest limit lets through at once"),
    ("RateLimit-Remaining", "How many of them are left"),
    ("RateLimit-Reset", "Seconds until all of them are back, at least 1"),
];

fn whole_number(about: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    HeaderBuilder::new().schema(Some(schema)).description(Some(about)).build()
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(methods).flatten()
}

fn methods(item: &mut PathItem) -> [&mut Option<Operation>; 7] {
    let PathItem { get, put, post, delete, options, head, patch, .. } = item;
    [get, put, post, delete, options, head, patch]
}
