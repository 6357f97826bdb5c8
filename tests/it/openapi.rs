//! The OpenAPI document: fresh in the repository, sound in itself, served with a page that needs nobody else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::process::{Environment, run};
use crate::harness::{Embedded, client};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn printed() -> String {
    let (code, stdout, log) = run(&["openapi"], &Environment::new());
    assert_eq!(code, 0, "{log}");
    stdout
}

fn document() -> Value {
    serde_json::from_str(&printed()).expect("JSON")
}

/// Every operation, under its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let mut operations = Vec::new();
    for (path, item) in paths {
        let of_path = item.as_object().expect("operations").iter();
        operations.extend(of_path.map(|(method, operation)| (format!("{method} {path}"), operation)));
    }
    operations
}

#[test]
fn the_document_in_the_repository_is_fresh() {
    let committed = fs::read_to_string(root().join("docs/openapi.json")).unwrap_or_default();
    assert!(committed == printed(), "docs/openapi.json is stale: cargo run -- openapi > docs/openapi.json");
}

#[test]
fn operations_have_names_of_their_own_and_words() {
    let document = document();
    let operations = operations(&document);
    let ids: BTreeSet<_> = operations.iter().map(|(_, operation)| operation["operationId"].as_str()).collect();
    assert!(!ids.contains(&None) && ids.len() == operations.len(), "{ids:?}");
    for (name, operation) in &operations {
        assert!(operation["tags"].is_array() && operation["summary"].is_string(), "{name}");
        for (status, response) in operation["responses"].as_object().expect("responses") {
            assert!(response["description"].as_str().is_some_and(|words| !words.is_empty()), "{status} of {name}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference}");
    }
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

/// Of two shapes of one name, the document would have the one and mean the other.
#[test]
fn every_shape_has_a_name_of_its_own() {
    let mut names = Vec::new();
    for file in fs::read_dir(root().join("api/src/openapi")).expect("the shapes") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            shapes(&fs::read_to_string(path).expect("UTF-8"), &mut names);
        }
    }
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = names.iter().filter(|name| !seen.insert(*name)).collect();
    assert!(twice.is_empty() && names.len() > 20, "{twice:?}");
}

/// What the types of a file that derive `ToSchema` are called: by `as`, else as in Rust.
fn shapes(text: &str, names: &mut Vec<String>) {
    let mut alias = None;
    let mut is_shape = false;
    for line in text.lines() {
        is_shape |= line.starts_with("#[derive(") && line.contains("ToSchema");
        if let Some((_, rest)) = line.split_once("schema(as = ") {
            alias = rest.split([',', ')']).next().map(str::to_owned);
        }
        let Some(declared) = line.strip_prefix("pub(crate) ") else { continue };
        let name = declared.split([' ', '(', '<']).nth(1).map(str::to_owned);
        if std::mem::take(&mut is_shape) {
            names.extend(alias.take().or(name));
        }
    }
}

/// `.route()` would serve what the document does not know.
#[test]
fn no_route_goes_around_the_document() {
    let text = fs::read_to_string(root().join("api/src/router.rs")).expect("the routes");
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let around: Vec<_> =
        code.filter(|line| [".route(", ".nest(", "_service("].iter().any(|word| line.contains(word))).collect();
    assert_eq!(around, Vec::<&str>::new());
}

#[tokio::test]
async fn it_is_served_with_a_page_that_needs_nobody_else() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let get = |path: &str| client::reply(client.http.get(client.url(path)));
    assert_eq!(get("/openapi.json").await.expect(200).body, document());
    let page = get("/docs").await.expect(200);
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    let html = page.body.as_str().expect("a page");
    assert!(!html.contains("//"), "{html}");
    let parts = html.split('"').filter(|word| word.starts_with("docs/"));
    let mut seen = 0;
    for part in parts {
        get(&format!("/{part}")).await.expect(200);
        seen += 1;
    }
    assert_eq!(seen, 3);
    get("/docs/index.html").await.expect(404);
}
