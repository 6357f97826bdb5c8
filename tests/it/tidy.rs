//! The rules of the repository, as tests.

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file that is ours.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for dir in ["src", "api", "bench", "common", "providers", "simulator", "worker", "tests"] {
        collect(&root().join(dir), &mut found);
    }
    assert!(found.len() > 80, "the sources are where they were");
    found
}

fn collect(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push((name, fs::read_to_string(&path).expect("UTF-8")));
        }
    }
}

#[test]
fn every_file_says_what_lives_in_it() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name).collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn no_file_is_too_long_to_read_at_once() {
    let long: Vec<_> =
        sources().into_iter().filter(|(_, text)| text.lines().count() > LONGEST_FILE).map(|(name, _)| name).collect();
    assert_eq!(long, Vec::<String>::new());
}

/// `word` occurs in product code only below one of `homes`.
#[track_caller]
fn lives_only_in(word: &str, homes: &[&str]) {
    let strays = sources().into_iter().filter(|(name, text)| {
        let is_product = !name.starts_with("tests/") && !name.contains("/tests/");
        is_product
            && !homes.iter().any(|home| name.starts_with(home))
            && text.lines().any(|line| {
                let code = line.trim_start();
                !code.starts_with("//") && code.contains(word)
            })
    });
    assert_eq!(strays.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<String>::new(), "{word} lives in {homes:?}");
}

#[test]
fn each_driver_has_one_home() {
    lives_only_in("sqlx::", &["common/src/store/", "bench/"]);
    lives_only_in("lapin::", &["common/src/queue/", "bench/"]);
    lives_only_in("backoff::", &["common/src/retry.rs"]);
    lives_only_in("reqwest::", &["providers/", "simulator/", "bench/src/baseline/"]);
    lives_only_in("lettre::", &["providers/"]);
    lives_only_in("std::env::", &["common/src/config/", "bench/"]);
    lives_only_in("jiff::Timestamp::now", &["common/src/clock.rs"]);
}

#[test]
fn api_and_worker_never_meet_and_the_domain_imports_nothing() {
    let imports = |dir: &str, word: &str| {
        let strays = sources().into_iter().filter(|(name, text)| name.starts_with(dir) && text.contains(word));
        assert_eq!(strays.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<String>::new(), "{word} in {dir}");
    };
    imports("api/", "worker::");
    imports("worker/", "use api::");
    imports("common/", "use providers");
    // Vendors are played from their documentation: what an adapter gets wrong must not be right there.
    imports("simulator/", "providers::");
    // What is measured beside ours must not be made of ours.
    for ours in ["use common", "use providers", "use worker", "use api"] {
        imports("bench/src/baseline/", ours);
    }
    for module in ["store", "queue", "keys", "clock", "config", "tenancy", "vault", "batch"] {
        imports("common/src/otp/", &format!("use crate::{module}"));
    }
    for outside in ["sqlx", "tokio", "axum", "async fn"] {
        imports("common/src/otp/", outside);
    }
}

#[test]
fn no_bare_allow_and_no_unfinished_mark() {
    // Put together here, so that this file does not find itself.
    for word in [
        ["#[", "allow("].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["#[", "ignore"].concat(),
    ] {
        let strays = sources().into_iter().filter(|(_, text)| text.contains(&word));
        assert_eq!(strays.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn every_setting_has_a_comment() {
    let defaults = fs::read_to_string(root().join("config.default.toml")).expect("the defaults");
    let mut before = "";
    for line in defaults.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            let is_route = ["sms", "email", "whatsapp"].iter().any(|channel| line.starts_with(channel));
            assert!(before.starts_with('#') || is_route, "{line} has no comment");
        }
        before = line;
    }
}

const FOLDERS: [&str; 13] = [
    "src/",
    "api/",
    "bench/",
    "common/",
    "providers/",
    "worker/",
    "simulator/",
    "tests/",
    "docs/",
    "scripts/",
    "deploy/",
    "migrations/",
    "examples/",
];

/// Paths are given from the root, links from their own page.
#[test]
fn every_documented_file_exists() {
    let mut pages: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(PathBuf::from).into();
    pages_below(Path::new("docs"), &mut pages);
    pages_below(Path::new("examples"), &mut pages);
    for page in pages {
        let text = fs::read_to_string(root().join(&page)).expect("a page");
        let words = text.split(['`', '(', ')', ' ', '\n']).filter(|word| word.contains('/') && !word.contains("://"));
        let plain = words.map(|word| word.trim_end_matches(['.', ',', ':', ';']));
        let is_path = |word: &&str| {
            FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', '<', '{', '…', '#'])
        };
        for path in plain.filter(is_path) {
            let is_there = root().join(path).exists() || root().join(&page).with_file_name(path).exists();
            assert!(is_there, "{} names {path}, which is not there", page.display());
        }
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://") && !link.contains(' ')) {
            let target = root().join(&page).with_file_name(link);
            assert!(target.exists(), "{} links to {link}, which is not there", page.display());
        }
    }
}

fn pages_below(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(folder)).expect("a folder") {
        let path = folder.join(entry.expect("an entry").file_name());
        if root().join(&path).is_dir() {
            pages_below(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}
