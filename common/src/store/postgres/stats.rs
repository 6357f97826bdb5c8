//! The table `stats_hourly`: counters by project, mode and hour.

use sqlx::{PgConnection, query};

use super::columns::{Columns, mode_codes};
use crate::otp::changes::{Dimension, Stats};
use crate::otp::channel::Mode;
use crate::otp::ids::ProjectId;
use crate::otp::time::Timestamp;
use crate::store::Result;
use crate::store::records::Count;

pub(super) async fn add(connection: &mut PgConnection, stats: &Stats) -> Result<()> {
    let rows = stats.sorted();
    if rows.is_empty() {
        return Ok(());
    }
    query(
        "insert into stats_hourly (project_id, mode, hour, dimension, value, count)
         select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[])
              as new (project_id, mode, hour, dimension, value)
         order by project_id, mode, hour, dimension, value collate \"C\"
         on conflict (project_id, mode, hour, dimension, value) do update
         set count = stats_hourly.count + excluded.count",
    )
    .bind(rows.iter().map(|(key, _)| key.project.as_uuid()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.mode.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.hour.as_ms()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.dimension.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| key.value.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, by)| *by).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// The counters that are not zero, summed over the hours from `from` to before `until`.
pub(super) async fn sum(
    connection: &mut PgConnection,
    project: ProjectId,
    modes: &[Mode],
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Vec<Count>> {
    let rows = query(
        "select dimension, value, sum(count)::bigint
         from stats_hourly
         where project_id = $1 and mode = any($2::smallint[]) and hour >= $3 and hour < $4
         group by dimension, value
         having sum(count) <> 0
         order by dimension, value",
    )
    .bind(project.as_uuid())
    .bind(mode_codes(modes))
    .bind(from.map_or(i64::MIN, Timestamp::as_ms))
    .bind(until.map_or(i64::MAX, Timestamp::as_ms))
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| {
        Ok(Count { dimension: row.code(Dimension::from_code)?, value: row.take()?, count: row.take()? })
    };
    rows.iter().map(|row| read(Columns::of(row))).collect()
}
