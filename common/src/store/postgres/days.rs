//! The table `stats_daily`: the hourly counters of days that are over, summed up once, so that reading months is quick.

use sqlx::{Connection, PgConnection, query};

use super::columns::Columns;
use crate::otp::time::Timestamp;
use crate::store::Result;

/// Days that stay open behind the present one: most of what still moves in a day does so within another one.
const OPEN_BEHIND: i64 = 1;

/// Sums up every day that is over, one a transaction.
pub(super) async fn close(connection: &mut PgConnection, now: Timestamp) -> Result<()> {
    while let Some(day) = next(connection).await?.filter(|day| *day < now.day() - OPEN_BEHIND) {
        let mut tx = connection.begin().await?;
        // Whoever has counted something in that day has committed when this is granted, and whoever counts after it sees
        // that the day is summed up. It takes as long as reading one day does.
        query("lock table stats_hourly in share mode").execute(&mut *tx).await?;
        sum_up(&mut tx, day).await?;
        query(
            "insert into stats_summed (first_day, until_day) values ($1, $1 + 1)
             on conflict (one) do update set until_day = excluded.until_day",
        )
        .bind(day)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The day after the last one, or the first one of all.
async fn next(connection: &mut PgConnection) -> Result<Option<i64>> {
    let row = query(
        "select coalesce((select until_day from stats_summed where one), (select min(hour) / 86400000 from stats_hourly))",
    )
    .fetch_one(connection)
    .await?;
    Columns::of(&row).take()
}

async fn sum_up(connection: &mut PgConnection, day: i64) -> Result<()> {
    query(
        "insert into stats_daily (project_id, mode, day, dimension, value, count)
         select p.id, m.mode, $1, s.dimension, s.value, sum(s.count)::bigint
         from projects p
         cross join (values (0::smallint), (1::smallint)) as m (mode)
         cross join lateral (
             select * from stats_hourly s
             where s.project_id = p.id and s.mode = m.mode and s.hour >= $1 * 86400000 and s.hour < ($1 + 1) * 86400000
             offset 0
         ) s
         group by p.id, m.mode, s.dimension, s.value",
    )
    .bind(day)
    .execute(connection)
    .await?;
    Ok(())
}
