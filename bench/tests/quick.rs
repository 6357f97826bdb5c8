//! The guard of the measurements: every scenario works at a small size and finds its figures. No time is looked at.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The program that the same `cargo test --workspace` has built, beside the directory of this test.
fn otpd() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let otpd = test.parent().and_then(Path::parent).expect("a target directory").join("otpd");
    assert!(otpd.exists(), "{} is not there: cargo build -p otpd, or cargo test --workspace", otpd.display());
    otpd
}

fn bench(arguments: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().expect("a run");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?}: {said}");
    String::from_utf8(ran.stdout).expect("UTF-8")
}

/// Every figure that a scenario says it finds.
fn figures() -> Vec<String> {
    let list = bench(&["list"]);
    let words = list.split([' ', ',', '\n']);
    let is_figure =
        |word: &&str| word.strip_prefix('S').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    words.filter(is_figure).map(str::to_owned).collect()
}

#[test]
fn every_scenario_works_and_finds_its_figures() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let json = dir.path().join("figures.json");
    let (otpd, json) = (otpd(), json.to_str().expect("UTF-8"));
    bench(&["all", "soak", "--quick", "--program", otpd.to_str().expect("UTF-8"), "--json", json]);

    let found: Value = serde_json::from_slice(&std::fs::read(json).expect("the figures")).expect("JSON");
    let figures = figures();
    for number in 1..=12 {
        assert!(figures.contains(&format!("S{number}")), "S{number} in {figures:?}");
    }
    let table = bench(&["table", json]);
    for name in figures {
        let figure = &found["figures"][&name];
        assert!(figure["ours"].as_f64().is_some_and(|ours| ours >= 0.0), "{name} is {figure}");
        assert!(table.lines().any(|line| line.starts_with(&format!("| {name} "))), "{name} in {table}");
    }
    for name in ["soak", "soak.worker"] {
        assert!(found["figures"][name]["ratio"].as_f64().is_some(), "{name} is {}", found["figures"][name]);
    }
    for part in ["processor", "cores", "program", "postgres", "rabbitmq", "fsync_ms"] {
        assert!(!found["machine"][part].is_null(), "{part} in {}", found["machine"]);
    }
}
