//! One day of what is loaded: its rows, a few thousand at a time, in one transaction.

use std::sync::Arc;

use common::keys::DayKey;
use common::otp::ids::VerificationId;
use common::otp::time::Timestamp;
use common::vault::Vault;
use rand::RngExt;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::made::{Counters, Maker, Making, count_up};
use super::spread::Hour;
use super::tables::{BY_DAY, Ready};
use crate::failure::Outcome;
use crate::load::{count, whole};

/// Verifications whose rows are made at once.
const AT_ONCE: u64 = 20_000;

/// What a day came to.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) verifications: u64,
    pub(super) rows: u64,
    /// Tokens, by project.
    pub(super) used: Vec<i64>,
}

/// Loads the hours of one UTC day.
pub(super) async fn load(
    connection: &mut PgConnection,
    maker: &Arc<Maker>,
    vault: &Vault,
    hours: &[Hour],
) -> Result<Loaded, crate::failure::Failure> {
    let mut loaded = Loaded { used: vec![0; maker.projects.len()], ..Loaded::default() };
    let Some(first) = hours.first() else { return Ok(loaded) };
    let (suffix, day_keys) = (name_of(first.start), day_keys(maker, vault, first.start).await?);
    let mut tx = connection.begin().await?;
    for table in BY_DAY {
        tx.execute(AssertSqlSafe(format!("truncate {table}_{suffix}"))).await?;
    }
    let (mut ready, mut counters) = (Ready::default(), Counters::new());
    for hour in hours {
        let mut made = 0;
        while made < hour.number {
            let some = AT_ONCE.min(hour.number - made);
            let mut fill = || {
                let mut making = Making {
                    maker,
                    day_keys: &day_keys,
                    rng: rand::rng(),
                    ready: &mut ready,
                    counters: &mut counters,
                    used: &mut loaded.used,
                };
                (made..made + some).try_for_each(|n| {
                    let place = (count(n) + making.rng.random::<f64>()) / count(hour.number);
                    let since = whole(place * count(hour.length.unsigned_abs())).min(hour.length.unsigned_abs() - 1);
                    making.verification(hour.start + i64::try_from(since)?)
                })
            };
            tokio::task::block_in_place(&mut fill)?;
            loaded.rows += ready.send(&mut tx, &suffix).await?;
            made += some;
        }
        count_up(maker, Timestamp::from_ms(hour.start), &mut counters, &mut ready);
        loaded.verifications += hour.number;
    }
    loaded.rows += ready.send(&mut tx, &suffix).await?;
    tx.commit().await?;
    Ok(loaded)
}

/// What the partitions of a day are called behind their tables' names.
fn name_of(start: i64) -> String {
    // 2026-11-21T…
    Timestamp::from_ms(start).rfc3339().get(..10).unwrap_or_default().replace('-', "")
}

/// The keys that the program seals this day's targets with, made by the program.
async fn day_keys(maker: &Maker, vault: &Vault, start: i64) -> Outcome<Vec<Arc<DayKey>>> {
    let id = VerificationId::floor(Timestamp::from_ms(start));
    let mut keys = Vec::with_capacity(maker.projects.len());
    for project in &maker.projects {
        keys.push(vault.day_key(*project, id).await?);
    }
    Ok(keys)
}
