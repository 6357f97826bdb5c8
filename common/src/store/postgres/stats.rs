//! The table `stats_hourly`: counters by project, mode and hour. Whole days are read from their sums (`days.rs`).

use sqlx::{PgConnection, query};

use super::columns::{Columns, mode_codes};
use super::writes::Writes;
use crate::otp::changes::{Dimension, Stats, StatsKey};
use crate::otp::channel::Mode;
use crate::otp::ids::ProjectId;
use crate::otp::time::{DAY_MS, Timestamp};
use crate::store::Result;
use crate::store::records::Count;

type Counted<'a> = (&'a StatsKey, i64);

/// Adds to the hours, and to the sums of days that are summed up already: never the day that it is, by a clock that is
/// less than a day behind that of whoever sums up.
pub(super) fn add(writes: &mut Writes, stats: &Stats, now: Timestamp) {
    let rows = stats.sorted();
    let of_past_days: Vec<_> = rows.iter().copied().filter(|(key, _)| key.hour.day() < now.day()).collect();
    write(
        writes,
        "insert into stats_daily (project_id, mode, day, dimension, value, count)
         select project_id, mode, hour / 86400000 as day, dimension, value, sum(count)::bigint
         from stats_summed
         join unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[])
              as new (project_id, mode, hour, dimension, value, count)
           on hour >= first_day * 86400000 and hour < until_day * 86400000
         where one
         group by project_id, mode, day, dimension, value
         order by project_id, mode, day, dimension, value collate \"C\"
         on conflict (project_id, mode, day, dimension, value) do update
         set count = stats_daily.count + excluded.count",
        &of_past_days,
    );
    write(
        writes,
        "insert into stats_hourly (project_id, mode, hour, dimension, value, count)
         select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[]) as new
         on conflict (project_id, mode, hour, dimension, value) do update
         set count = stats_hourly.count + excluded.count",
        &rows,
    );
}

fn write(writes: &mut Writes, sql: &'static str, rows: &[Counted<'_>]) {
    if rows.is_empty() {
        return;
    }
    writes
        .statement(sql)
        .bind(rows.iter().map(|(key, _)| key.project.as_uuid()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(key, _)| key.mode.code()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(key, _)| key.hour.as_ms()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(key, _)| key.dimension.code()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(key, _)| key.value.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, by)| *by).collect::<Vec<_>>());
}

/// The counters that are not zero, summed over the hours from `from` to before `until`: of days that are summed up and
/// lie wholly between, their sums; of what is before and after these, the hours.
pub(super) async fn sum(
    connection: &mut PgConnection,
    project: ProjectId,
    modes: &[Mode],
    dimensions: &[Dimension],
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Vec<Count>> {
    let (from, until) = (from.map_or(i64::MIN, Timestamp::as_ms), until.map_or(i64::MAX, Timestamp::as_ms));
    let rows = query(
        "with summed as materialized (
             select max(greatest(first_day, $5)) as first, max(least(until_day, $6)) as until
             from stats_summed where one
         ), days as materialized (
             select first, until, case when first < until then first * 86400000 else $4 end as head,
                    case when first < until then until * 86400000 else $4 end as tail
             from summed
         )
         select dimension, value, sum(count)::bigint
         from (select s.dimension, s.value, s.count
               from days cross join lateral (
                   select dimension, value, count from stats_daily
                   where project_id = $1 and mode = any($2::smallint[]) and day >= days.first and day < days.until
                     and dimension = any($7::smallint[])
                   offset 0) s
               union all
               select s.dimension, s.value, s.count
               from days cross join lateral (
                   select dimension, value, count from stats_hourly
                   where project_id = $1 and mode = any($2::smallint[]) and hour >= $3 and hour < days.head
                     and dimension = any($7::smallint[])
                   offset 0) s
               union all
               select s.dimension, s.value, s.count
               from days cross join lateral (
                   select dimension, value, count from stats_hourly
                   where project_id = $1 and mode = any($2::smallint[]) and hour >= days.tail and hour < $4
                     and dimension = any($7::smallint[])
                   offset 0) s
              ) counted
         group by dimension, value
         having sum(count) <> 0
         order by dimension, value",
    )
    .bind(project.as_uuid())
    .bind(mode_codes(modes))
    .bind(from)
    .bind(until)
    // The first day that lies wholly behind `from`, and the one that `until` lies in.
    .bind(from.saturating_add(DAY_MS - 1).div_euclid(DAY_MS))
    .bind(until.div_euclid(DAY_MS))
    .bind(dimensions.iter().map(|dimension| dimension.code()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| {
        Ok(Count { dimension: row.code(Dimension::from_code)?, value: row.take()?, count: row.take()? })
    };
    rows.iter().map(|row| read(Columns::of(row))).collect()
}
