//! The loader leaves what the program would have left, and whatever looks at a loaded database works at a small size.

use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The program that the same `cargo test --workspace` has built, beside the directory of this test.
fn otpd() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let otpd = test.parent().and_then(Path::parent).expect("a target directory").join("otpd");
    assert!(otpd.exists(), "{} is not there: cargo build -p otpd, or cargo test --workspace", otpd.display());
    otpd
}

fn bench(arguments: &[&str]) -> String {
    let otpd = otpd();
    let arguments = [arguments, &["--program", otpd.to_str().expect("UTF-8")]].concat();
    let ran = Command::new(env!("CARGO_BIN_EXE_bench")).args(&arguments).output().expect("a run");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?}: {said}");
    String::from_utf8(ran.stdout).expect("UTF-8")
}

/// A database that goes when the test ends, also where it fails.
struct Database {
    server: String,
    name: String,
}

impl Database {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
    fn new() -> Self {
        let server = std::env::var("OTPD_TEST_POSTGRES");
        let server = server.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
        Self { server, name: format!("otpd_{}", uuid::Uuid::now_v7().simple()) }
    }

    fn on(url: &str, statement: &str) -> sqlx::Result<Option<i64>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await?;
            sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_optional(&mut connection).await
        })
    }

    /// The one number that a statement answers.
    fn number(&self, statement: &str) -> i64 {
        let (server, _) = self.server.rsplit_once('/').expect("a URL with a database");
        let number = Self::on(&format!("{server}/{}", self.name), statement);
        number.expect(statement).expect("a number")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = Self::on(&self.server, &format!("drop database if exists {} with (force)", self.name));
    }
}

/// What must be true of rows that the program has written; each of these counts what is not.
const BROKEN: [(&str, &str); 9] = [
    (
        "has one newest dispatch",
        "select count(*) from verifications v
        where (select count(*) from dispatches d where d.verification_id = v.id and d.newest) <> 1",
    ),
    (
        "has as many dispatches as sends",
        "select count(*) from verifications v
        where (select count(*) from dispatches d where d.verification_id = v.id) <> v.sends",
    ),
    (
        "has all attempts",
        "select count(*) from dispatches d
        where (select count(*) from attempts a where a.verification_id = d.verification_id and a.dispatch_n = d.n)
              <> d.attempt",
    ),
    ("is in the partition of its day", "select count(*) from verifications_default"),
    (
        "is as its last attempt",
        "select count(*) from dispatches d
        join attempts a on a.verification_id = d.verification_id and a.dispatch_n = d.n and a.n = d.attempt
        where d.provider <> a.provider or (d.delivered_at is not null) <> (a.status = 3)
              or (d.sent_at is not null) <> (a.message_id is not null)",
    ),
    (
        "has its receipt",
        "select count(*) from attempts a where a.status in (1, 3) and not exists (
        select from receipts r where r.message_id = a.message_id and r.verification_id = a.verification_id)",
    ),
    (
        "has paid",
        "select count(*) from projects p where p.tokens_used <> (
        select count(*) from dispatches d where d.project_id = p.id and d.charge = 1)",
    ),
    (
        "has ended",
        "select count(*) from verifications where code is not null or expires_at > extract(epoch from now()) * 1000",
    ),
    (
        "is summed up by day",
        "select count(*) from stats_summed s where (select sum(count) from stats_daily) <> (
        select sum(count) from stats_hourly h
        where h.hour >= s.first_day * 86400000 and h.hour < s.until_day * 86400000)",
    ),
];

/// Statistics beside what they are of.
const COUNTED: [(&str, &str, &str); 5] = [
    ("total", "dimension = 0", "select count(*) from verifications"),
    (
        "verified",
        "dimension = 1 and value = 'sms'",
        "select count(*) from verifications where state = 1 and channel = 0",
    ),
    ("status", "dimension = 3 and value = 'delivered'", "select count(*) from dispatches where newest and status = 3"),
    (
        "provider",
        "dimension = 4 and value = 'vonage'",
        "select count(*) from dispatches where newest and provider = 'vonage'",
    ),
    ("country", "dimension = 5 and value = 'DE'", "select count(*) from verifications where country = 'DE'"),
];

#[test]
fn what_is_loaded_is_as_the_program_would_have_left_it() {
    let database = Database::new();
    bench(&["load", "--database", &database.name, "--rows", "2000", "--days", "5", "--projects", "2"]);
    assert_eq!(database.number("select count(*) from verifications"), 2000);
    for (what, statement) in BROKEN {
        assert_eq!(database.number(statement), 0, "not every row {what}");
    }
    for (what, counter, rows) in COUNTED {
        let counted = database.number(&format!("select sum(count)::bigint from stats_hourly where {counter}"));
        assert_eq!(counted, database.number(rows), "{what}");
        assert!(counted > 0, "{what}");
    }
    for table in ["receipts", "message_ids", "open_targets", "idempotency_keys", "limits", "day_keys", "stats_daily"] {
        assert!(database.number(&format!("select count(*) from {table}")) > 0, "{table}");
    }
    let name = ["--database", &database.name, "--quick"];
    let retention = bench(&[&["retention", "--rate", "50"], &name[..]].concat());
    assert!(retention.contains("| 1 | verifications_"), "{retention}");
    let plans = bench(&[&["plans"], &name[..]].concat());
    assert!(plans.contains("insert into verifications"), "{plans}");
}

#[test]
fn curves_and_bloat_are_measured() {
    let curves = bench(&["curves", "--only", "apis", "--quick"]);
    assert!(curves.contains("| 2 | "), "{curves}");
    let bloat = bench(&["bloat", "--for", "0.02", "--looks", "2", "--rate", "50", "--quick"]);
    assert!(bloat.matches("| due | ").count() == 2, "{bloat}");
}
