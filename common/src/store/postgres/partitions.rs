//! Partitions: one of each of the three tables a UTC day, made ahead and dropped when every project has forgotten it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use sqlx::{AssertSqlSafe, Connection, PgConnection, query, raw_sql};

use super::columns::Columns;
use crate::otp::ids::VerificationId;
use crate::otp::settings::ProjectSettings;
use crate::otp::time::{DAY_MS, Timestamp};
use crate::store::{Result, StoreError};

const DAYS_BEHIND: i64 = 1;
const DAYS_AHEAD: i64 = 7;
/// Who rotates: any number that nothing else in the database locks.
const ROTATION: i64 = 0x6f74_7064;
/// Statements behind one that waits for a table wait with it, so it does not wait for long.
const SHORT_WAITS: &str = "set lock_timeout = '2s'";

/// A partitioned table, and how its default partition forgets.
struct Table {
    name: &'static str,
    forget: &'static str,
}

const TABLES: [Table; 3] = [
    Table {
        name: "verifications",
        forget: "delete from verifications_default where ctid = any(array(
                     select ctid from verifications_default where id < $1 order by id limit 1000
                     for update skip locked))",
    },
    Table {
        name: "dispatches",
        forget: "delete from dispatches_default where ctid = any(array(
                     select ctid from dispatches_default where verification_id < $1 order by verification_id limit 1000
                     for update skip locked))",
    },
    Table {
        name: "attempts",
        forget: "delete from attempts_default where ctid = any(array(
                     select ctid from attempts_default where verification_id < $1 order by verification_id limit 1000
                     for update skip locked))",
    },
];

/// Makes and drops partitions. One at a time in a database: the lock ends with the connection, which is for this alone.
pub(super) async fn rotate(connection: &mut PgConnection, now: Timestamp) -> Result<()> {
    query("select pg_advisory_lock($1)").bind(ROTATION).execute(&mut *connection).await?;
    query(SHORT_WAITS).execute(&mut *connection).await?;
    let oldest = now.day() - longest_retention(connection).await?;
    for table in &TABLES {
        let there = list(connection, table.name).await?;
        for day in now.day() - DAYS_BEHIND..=now.day() + DAYS_AHEAD {
            if day >= oldest && !there.contains(&Partition { day, attached: true }) {
                create(connection, table.name, day).await?;
            }
        }
        for old in there.iter().filter(|partition| partition.day < oldest) {
            drop(connection, table.name, *old).await?;
        }
        while forget(connection, table, oldest).await? > 0 {}
    }
    Ok(())
}

/// Days that the most forgetful of all rules, the longest one, keeps.
pub(super) async fn longest_retention(connection: &mut PgConnection) -> Result<i64> {
    let default = i64::from(ProjectSettings::default().retention_days);
    let row = query("select max(coalesce((settings ->> 'retention_days')::bigint, $1)) from projects")
        .bind(default)
        .fetch_one(connection)
        .await?;
    Ok(Columns::of(&row).take::<Option<i64>>()?.unwrap_or(default).max(1))
}

/// The start of the oldest day that is kept whole: what is older has been dropped, unless the default partition has any.
pub(super) async fn kept_since(connection: &mut PgConnection) -> Result<Option<Timestamp>> {
    // The names of all relations are indexed, and those of partitions are in the order of their days.
    let row = query(
        "select relname::text
         from pg_class
         where relnamespace = current_schema()::regnamespace
           and relname >= 'verifications_0' and relname < 'verifications_a' and relkind = 'r' and relispartition
           and not exists (select from verifications_default)
         order by relname
         limit 1",
    )
    .fetch_optional(connection)
    .await?;
    let start = |row| Ok(Timestamp::from_ms(day_of(Columns::of(row).take()?)? * DAY_MS));
    row.as_ref().map(start).transpose()
}

/// Those of some days that have a partition of every table, with the ending of their names.
pub(super) async fn attached(
    connection: &mut PgConnection,
    days: std::ops::RangeInclusive<i64>,
) -> Result<Vec<(i64, String)>> {
    let mut found = Vec::new();
    for day in days {
        let ending = ending(day)?;
        let names: Vec<_> = TABLES.iter().map(|table| format!("{}{ending}", table.name)).collect();
        let row = query(
            "select count(*)
             from pg_class
             where relnamespace = current_schema()::regnamespace and relname = any($1::text[]) and relispartition",
        )
        .bind(&names)
        .fetch_one(&mut *connection)
        .await?;
        let count: i64 = Columns::of(&row).take()?;
        if usize::try_from(count).is_ok_and(|count| count == TABLES.len()) {
            found.push((day, ending));
        }
    }
    Ok(found)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Partition {
    day: i64,
    /// One that is not was about to be dropped.
    attached: bool,
}

async fn list(connection: &mut PgConnection, table: &str) -> Result<Vec<Partition>> {
    let rows = query(
        "select relname::text, relispartition
         from pg_class
         where relnamespace = current_schema()::regnamespace and relkind = 'r' and relname ~ ('^' || $1 || '_[0-9]{8}$')
         order by relname",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| {
        let day = day_of(row.take()?)?;
        Ok(Partition { day, attached: row.take()? })
    };
    rows.iter().map(|row| read(Columns::of(row))).collect()
}

/// Attaching, unlike `create table .. partition of`, lets the table's readers and writers go on.
async fn create(connection: &mut PgConnection, table: &str, day: i64) -> Result<()> {
    let name = name(table, day)?;
    let (from, until) = (bound(day), bound(day + 1));
    let mut tx = connection.begin().await?;
    let create = format!("create table {name} (like {table} including all) with (fillfactor = 70)");
    raw_sql(AssertSqlSafe(create)).execute(&mut *tx).await?;
    let attach = format!("alter table {table} attach partition {name} for values from ('{from}') to ('{until}')");
    match raw_sql(AssertSqlSafe(attach)).execute(&mut *tx).await {
        Ok(_) => Ok(tx.commit().await?),
        Err(sqlx::Error::Database(error)) if error.is_check_violation() => {
            tracing::warn!(partition = name, "the default partition holds rows of that day: it goes on doing so");
            Ok(tx.rollback().await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// In two steps, as the table cannot be used while a partition goes, and deleting files takes time.
async fn drop(connection: &mut PgConnection, table: &str, partition: Partition) -> Result<()> {
    let name = name(table, partition.day)?;
    if partition.attached {
        let detach = format!("alter table {table} detach partition {name}");
        raw_sql(AssertSqlSafe(detach)).execute(&mut *connection).await?;
    }
    raw_sql(AssertSqlSafe(format!("drop table {name}"))).execute(connection).await?;
    Ok(())
}

async fn forget(connection: &mut PgConnection, table: &Table, oldest: i64) -> Result<u64> {
    let deleted = query(table.forget).bind(bound(oldest)).execute(connection).await?;
    Ok(deleted.rows_affected())
}

fn bound(day: i64) -> uuid::Uuid {
    VerificationId::floor(Timestamp::from_ms(day * DAY_MS)).as_uuid()
}

fn name(table: &str, day: i64) -> Result<String> {
    Ok(format!("{table}{}", ending(day)?))
}

fn ending(day: i64) -> Result<String> {
    let start = jiff::Timestamp::from_millisecond(day * DAY_MS).map_err(not_a_day)?;
    Ok(format!("_{}", start.strftime("%Y%m%d")))
}

fn day_of(name: &str) -> Result<i64> {
    let (_, date) = name.rsplit_once('_').unwrap_or_default();
    let date = Date::strptime("%Y%m%d", date).map_err(not_a_day)?;
    let start = date.to_zoned(TimeZone::UTC).map_err(not_a_day)?.timestamp();
    Ok(Timestamp::from_ms(start.as_millisecond()).day())
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives the error itself")]
fn not_a_day(error: jiff::Error) -> StoreError {
    StoreError::Refused(format!("a partition's day cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_after_its_day() {
        let name = name("verifications", 20_282).expect("name");
        assert_eq!(name, "verifications_20250713");
        assert_eq!(day_of(&name).expect("day"), 20_282);
    }
}
