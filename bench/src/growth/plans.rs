//! `bench plans`: how PostgreSQL does what the program asks of it when there are many rows. It fails where a statement reads a
//! large table from end to end, compares all rows of a batch with each other, or looks into more days than it has to do with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use common::otp::ids::parse_project_name;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::load::Loaded;
use super::proxy::Proxy;
use crate::calls::Looks;
use crate::failure::Outcome;
use crate::load::{Until, saturate, steady};
use crate::report::{print, progress};
use crate::run::Bench;
use crate::settings::Flags;
use crate::stub::Stub;
use crate::system::System;

const CONNECTIONS: usize = 16;
const SENDS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(60);
/// Days that a statement about something that happens now may look into: today, the day before, and what no day takes.
const FEW_DAYS: usize = 3;
/// A table with more rows than that is large.
const LARGE: f64 = 1000.0;
const SETTINGS: [(&str, &str); 7] = [
    ("session_preload_libraries", "auto_explain"),
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_timing", "off"),
    ("auto_explain.log_format", "json"),
    ("auto_explain.log_level", "notice"),
    ("auto_explain.log_nested_statements", "off"),
];

/// Look at the plans of everything that the program asks of a loaded database
#[derive(Debug, Args)]
pub(crate) struct Plans {
    #[command(flatten)]
    flags: Flags,
}

/// What all runs of one statement came to.
#[derive(Debug, Default)]
struct Statement {
    runs: usize,
    /// Partitions of one table that it has looked into, at most.
    days: usize,
    /// Partitions of one table that its plan still had after those were left out that cannot matter, at most.
    kept: usize,
    seq_scans: BTreeSet<String>,
    /// It held every row of one side of a join against every one of the other.
    pairs: bool,
    is_hot: bool,
}

impl Plans {
    pub(crate) async fn run(self) -> Outcome {
        let mut bench = Bench::begin(&self.flags).await?;
        let outcome = look(&mut bench).await;
        bench.servers.clean_up().await;
        outcome
    }
}

async fn look(bench: &mut Bench) -> Outcome {
    let loaded = bench.loaded().await?;
    let url = bench.servers.url_of(&loaded.database);
    let mut connection = PgConnection::connect(&url).await?;
    let large = sqlx::query_scalar("select relname::text from pg_class where relkind = 'r' and reltuples > $1");
    let large: BTreeSet<String> = large.bind(LARGE).fetch_all(&mut connection).await?.into_iter().collect();
    let mut statements = BTreeMap::new();
    for (is_hot, plan) in drive(bench, &loaded, &url).await? {
        note(&mut statements, is_hot, &plan, &large);
    }
    report(&statements)
}

/// What an address says so that its connections tell their plans.
fn telling(path: &str) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    let settings = SETTINGS.map(|(name, value)| format!("options[{name}]={value}"));
    format!("{path}{join}{}", settings.join("&"))
}

/// Every hot path, and then looking back: the plans, and whether they are hot.
async fn drive(bench: &mut Bench, loaded: &Loaded, url: &str) -> Outcome<Vec<(bool, Value)>> {
    let (head, rest) = url.split_once("://").ok_or("not an URL")?;
    let (authority, path) = rest.split_once('/').ok_or("an URL without a database")?;
    let (user, server) = authority.rsplit_once('@').unwrap_or(("postgres", authority));
    let server = if server.contains(':') { server.to_owned() } else { format!("{server}:5432") };
    let proxy = Proxy::start(server).await?;
    let behind = Loaded { database: format!("{head}://{user}@{}/{}", proxy.address, telling(path)), ..loaded.clone() };

    let stub = Stub::start(SENDS, Duration::ZERO)?;
    let mut system = System::on_loaded(bench, &behind, &stub).await?;
    let address = system.start_both().await?;
    bench.say("sends, deliveries and guesses, of today and of days before");
    saturate(address, CONNECTIONS, system.sends(), 0, Until::Made(SENDS)).await?;
    stub.journal.reached(SENDS + 1, PATIENCE).await?;
    let mixed = system.mixed_guesses(oldest(url, loaded).await?);
    saturate(address, CONNECTIONS, mixed, 0, Until::Made(SENDS)).await?;
    saturate(address, CONNECTIONS, system.guesses(SENDS), 0, Until::Made(SENDS * 2)).await?;
    let hot = proxy.plans();
    bench.say("records and statistics");
    let looks = |path: &str| Looks::new(&loaded.projects, &[format!("/api/v1/otp/{path}")]);
    for path in ["records", "records?status=failed", "records?verified=true", "records?recordId=user-1", "stats"] {
        steady(address, 1, looks(path).into(), 0, 20.0, Duration::from_secs(1)).await?;
    }
    system.end().await?;
    let back = proxy.plans();
    Ok(hot.into_iter().map(|plan| (true, plan)).chain(back.into_iter().map(|plan| (false, plan))).collect())
}

/// The oldest verification of each project.
async fn oldest(url: &str, loaded: &Loaded) -> Outcome<Vec<Uuid>> {
    let mut connection = PgConnection::connect(url).await?;
    let mut found = Vec::with_capacity(loaded.projects.len());
    for project in &loaded.projects {
        let id = sqlx::query_scalar("select id from verifications where project_id = $1 order by id limit 1");
        found.push(id.bind(parse_project_name(&project.id)).fetch_one(&mut connection).await?);
    }
    Ok(found)
}

/// Adds one plan to what is known of its statement.
fn note(statements: &mut BTreeMap<String, Statement>, is_hot: bool, plan: &Value, large: &BTreeSet<String>) {
    let text = plan["Query Text"].as_str().unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let statement = statements.entry(text).or_default();
    statement.runs += 1;
    statement.is_hot |= is_hot;
    let (mut kept, mut looked): (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, BTreeSet<String>>) =
        Default::default();
    each_node(&plan["Plan"], &mut |node| {
        statement.pairs |= compares_pairs(node);
        let Some(relation) = node["Relation Name"].as_str() else { return };
        let is_run = node["Actual Loops"].as_f64().is_some_and(|loops| loops > 0.0);
        if is_run && node["Node Type"] == "Seq Scan" && large.contains(relation) {
            statement.seq_scans.insert(relation.to_owned());
        }
        if let Some(table) = partitioned(relation) {
            kept.entry(table.to_owned()).or_default().insert(relation.to_owned());
            if is_run {
                looked.entry(table.to_owned()).or_default().insert(relation.to_owned());
            }
        }
    });
    let most = |of: &BTreeMap<String, BTreeSet<String>>| of.values().map(BTreeSet::len).max().unwrap_or(0);
    statement.kept = statement.kept.max(most(&kept));
    statement.days = statement.days.max(most(&looked));
}

/// Whether a join threw away far more than its two sides have given it.
fn compares_pairs(node: &Value) -> bool {
    let sides = node["Plans"].as_array().into_iter().flatten();
    let given: f64 = sides.filter_map(|side| side["Actual Rows"].as_f64()).sum();
    node["Rows Removed by Join Filter"].as_f64().is_some_and(|removed| removed > 2.0 * given)
}

fn each_node(node: &Value, visit: &mut impl FnMut(&Value)) {
    visit(node);
    for child in node["Plans"].as_array().into_iter().flatten() {
        each_node(child, visit);
    }
}

/// The table that a partition is one of.
fn partitioned(relation: &str) -> Option<&str> {
    let (table, part) = relation.rsplit_once('_')?;
    let is_part = part == "default" || (part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_digit()));
    is_part.then_some(table)
}

fn report(statements: &BTreeMap<String, Statement>) -> Outcome {
    let mut lines = vec![
        "| runs | days looked into | days in the plan | sequential scans | all pairs | statement |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let mut wrong = 0;
    for (text, statement) in statements {
        let Statement { runs, days, kept, seq_scans, pairs, is_hot } = statement;
        let is_wrong = !seq_scans.is_empty() || *pairs || (*is_hot && *days > FEW_DAYS);
        wrong += usize::from(is_wrong);
        let scans = seq_scans.iter().cloned().collect::<Vec<_>>().join(", ");
        let short: String = text.chars().take(100).collect();
        let mark = if is_wrong { "**" } else { "" };
        let pairs = if *pairs { "yes" } else { "" };
        lines.push(format!("| {runs} | {days} | {kept} | {scans} | {pairs} | {mark}`{short}`{mark} |"));
    }
    print(&lines.join("\n"));
    progress(&format!("bench: {} statements, {wrong} with a plan that does not do", statements.len()));
    if statements.is_empty() {
        return Err("no plan has come: is auto_explain there?".into());
    }
    if wrong > 0 { Err(format!("{wrong} statements have a plan that does not do").into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_statement_that_reads_a_large_table_or_many_days_is_found() {
        let scan = |relation: &str, kind: &str, loops: u32| json!({"Node Type": kind, "Relation Name": relation, "Actual Loops": loops});
        let parts = json!([
            scan("dispatches_20261120", "Index Scan", 1),
            scan("dispatches_20261121", "Index Scan", 1),
            scan("dispatches_20261122", "Index Scan", 0),
            scan("limits", "Seq Scan", 1),
            scan("due", "Seq Scan", 1),
        ]);
        let plan =
            json!({"Query Text": "select\n 1", "Plan": {"Node Type": "Append", "Actual Loops": 1, "Plans": parts}});
        let mut statements = BTreeMap::new();
        note(&mut statements, true, &plan, &BTreeSet::from(["limits".to_owned()]));
        let found = &statements["select 1"];
        assert_eq!((found.runs, found.days, found.kept), (1, 2, 3));
        assert_eq!(found.seq_scans.iter().collect::<Vec<_>>(), ["limits"]);
        assert!(report(&statements).is_err());
    }

    #[test]
    fn a_join_that_compares_all_pairs_is_found() {
        let side = |rows: u32| json!({"Node Type": "Function Scan", "Actual Rows": rows});
        let join =
            |removed: u32, sides: [u32; 2]| json!({"Rows Removed by Join Filter": removed, "Plans": sides.map(side)});
        assert!(compares_pairs(&join(64 * 63, [64, 64])));
        assert!(!compares_pairs(&join(60, [1, 60])));
        assert!(!compares_pairs(&join(0, [64, 1])));
    }
}
