//! `bench bloat`: what becomes of tables and indexes under a steady load: how they grow, how many dead rows they hold, and how
//! often they are vacuumed.

use std::time::Duration;

use clap::Args;
use sqlx::{Connection, PgConnection, Row};

use crate::failure::Outcome;
use crate::load::{steady, whole};
use crate::report::print;
use crate::run::Bench;
use crate::settings::Flags;
use crate::stub::Stub;
use crate::system::{Kind, System};

const CONNECTIONS: usize = 64;
/// A code comes back so long after it was asked for.
const LATER: Duration = Duration::from_secs(5);
/// The tables that have held rows, the partitions of a day one by one. An idle connection tells what it has counted ten
/// seconds later.
const TABLES: &str = "
    select s.relname::text, s.n_live_tup, s.n_dead_tup, s.n_tup_upd, s.n_tup_hot_upd,
           pg_table_size(s.relid), pg_indexes_size(s.relid), s.autovacuum_count + s.vacuum_count
    from pg_stat_user_tables s
    where pg_relation_size(s.relid) > 0
    order by pg_total_relation_size(s.relid) desc";

/// Send, deliver and verify at a steady rate, and look at the tables
#[derive(Debug, Args)]
pub(crate) struct Bloat {
    /// Minutes of load
    #[arg(long = "for", value_name = "MINUTES", default_value_t = 15.0)]
    load_for: f64,
    /// Sends a second, each verified a little later
    #[arg(long, value_name = "N", default_value_t = 1000.0)]
    rate: f64,
    /// How often the tables are looked at
    #[arg(long, value_name = "N", default_value_t = 3)]
    looks: u32,
    #[command(flatten)]
    flags: Flags,
}

impl Bloat {
    pub(crate) async fn run(self) -> Outcome {
        let mut bench = Bench::begin(&self.flags).await?;
        let outcome = self.measure(&mut bench).await;
        bench.servers.clean_up().await;
        outcome
    }

    async fn measure(&self, bench: &mut Bench) -> Outcome {
        let looks = self.looks.max(1);
        let part = Duration::from_secs_f64(self.load_for * 60.0 / f64::from(looks));
        let each = whole(self.rate * part.as_secs_f64()).max(1);
        let stub = Stub::start(each * u64::from(looks) + 1, bench.settings.provider_latency())?;
        let mut system = match bench.settings.database {
            Some(_) => {
                let loaded = bench.loaded().await?;
                System::on_loaded(bench, &loaded, &stub).await?
            }
            None => bench.system(Kind::Otpd, &stub).await?,
        };
        let address = system.start_both().await?;
        let url = bench.servers.url_of(system.database());
        let connections = CONNECTIONS.min(bench.settings.connections);
        for look in 0..looks {
            bench.say(&format!(
                "part {} of {looks}: {:.1} minutes at {:.0}/s",
                look + 1,
                part.as_secs_f64() / 60.0,
                self.rate
            ));
            let first = each * u64::from(look);
            let (sends, verdicts) = (system.sends(), system.verdicts());
            let verify = async {
                tokio::time::sleep(LATER).await;
                steady(address, connections, verdicts, first, self.rate, part).await
            };
            let (sent, verified) = tokio::join!(steady(address, connections, sends, first, self.rate, part), verify);
            let (sent, verified) = (sent?, verified?);
            let title = format!(
                "after {:.1} minutes at {:.0}/s: accept p99 {:.1} ms, verify p99 {:.1} ms",
                part.as_secs_f64() / 60.0 * f64::from(look + 1),
                self.rate,
                sent.ms(99.0),
                verified.ms(99.0)
            );
            print(&tables(&url, &title).await?);
        }
        system.end().await?;
        Ok(())
    }
}

async fn tables(url: &str, title: &str) -> Outcome<String> {
    let mut connection = PgConnection::connect(url).await?;
    let autovacuum: String =
        sqlx::query_scalar("select current_setting('autovacuum')").fetch_one(&mut connection).await?;
    let mut lines = vec![
        format!("{title}; autovacuum {autovacuum}\n"),
        "| table | rows | dead | updates | of these HOT | table MB | indexes MB | vacuums |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in sqlx::query(TABLES).fetch_all(&mut connection).await? {
        let name: String = row.try_get(0)?;
        let mut numbers = [0_i64; 7];
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = row.try_get(at + 1)?;
        }
        let [live, dead, updates, hot, table, indexes, vacuums] = numbers;
        let mb = |bytes: i64| format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
        let (table, indexes) = (mb(table), mb(indexes));
        lines.push(format!("| {name} | {live} | {dead} | {updates} | {hot} | {table} | {indexes} | {vacuums} |"));
    }
    Ok(lines.join("\n"))
}
