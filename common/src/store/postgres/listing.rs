//! Lists of records. A page is found by walking back in time along one index, a few days at a time: a walk over all days at
//! once would begin with the newest match of each of them.
//!
//! Each text has one plan, which is good for all parameters: a filter that decides which index serves has a text of its own.

use std::cmp::Reverse;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, query};
use uuid::Uuid;

use super::columns::{Columns, mode_codes, range};
use super::dispatches::{self, dispatch_columns};
use super::verifications::{self, verification_columns};
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::status::DispatchStatus;
use crate::otp::time::{DAY_MS, Timestamp};
use crate::store::Result;
use crate::store::records::{Page, Record, RecordFilter};

/// Days of the first step back beyond the present one. Each step is four times as long as the one before.
const FIRST_STEP: i64 = 1;
/// The last step goes to the beginning.
const LONGEST_STEP: i64 = 64;

/// All of a project's verifications in a range: the index alone answers it.
macro_rules! all {
    ($select:expr, $end:expr) => {
        concat!(
            $select,
            " from verifications v where v.project_id = $1 and v.id >= $2 and v.id < $3",
            $end,
            " limit $4"
        )
    };
}

/// Those that a filter lets through. `offset 0` keeps the newest dispatch a lookup by its verification.
macro_rules! matching {
    ($select:expr, $record:expr, $end:expr) => {
        all!(
            $select,
            concat!(
                " and v.mode = any($5::smallint[])
                  and ($6::smallint is null or v.channel = $6)
                  and ($7::boolean is null or (v.state = 1) = $7 and v.budget > 0)
                  and ($8::smallint is null or exists (
                          select from dispatches d
                          where d.verification_id = v.id and d.verification_id >= $2 and d.verification_id < $3
                            and d.newest and d.status = $8
                          offset 0))",
                $record,
                $end
            )
        )
    };
}

/// The texts for one purpose.
struct Texts {
    all: &'static str,
    some: &'static str,
    of_record: &'static str,
}

const IDS: Texts = Texts {
    all: all!("select v.id", " order by v.id desc"),
    some: matching!("select v.id", "", " order by v.id desc"),
    of_record: matching!("select v.id", " and v.record_id = $9 and v.record_id <> ''", " order by v.id desc"),
};

const COUNT: Texts = Texts {
    all: concat!("select count(*) from (", all!("select", ""), ") matches"),
    some: concat!("select count(*) from (", matching!("select", "", ""), ") matches"),
    of_record: concat!(
        "select count(*) from (",
        matching!("select", " and v.record_id = $9 and v.record_id <> ''", ""),
        ") matches"
    ),
};

impl Texts {
    /// The statement for a filter, of the verifications between two ids.
    fn query<'q>(
        &self,
        filter: &'q RecordFilter,
        (from, before): (Uuid, Uuid),
        limit: u32,
    ) -> Query<'q, Postgres, PgArguments> {
        let begun = |text| query(text).bind(filter.project.as_uuid()).bind(from).bind(before).bind(i64::from(limit));
        let is_open = filter.channel.is_none() && filter.verified.is_none() && filter.status.is_none();
        if is_open && filter.record.is_none() && filter.modes.len() == Mode::Live.visible().len() {
            return begun(self.all);
        }
        let filtered = begun(if filter.record.is_some() { self.of_record } else { self.some })
            .bind(mode_codes(filter.modes))
            .bind(filter.channel.map(Channel::code))
            .bind(filter.verified)
            .bind(filter.status.map(DispatchStatus::code));
        match &filter.record {
            Some(record) => filtered.bind(record.as_str()),
            None => filtered,
        }
    }
}

fn bounds(filter: &RecordFilter, before: Option<VerificationId>) -> (Uuid, Uuid) {
    let floor = |at: Timestamp| VerificationId::floor(at).as_uuid();
    let until = filter.until.map_or(Uuid::max(), floor);
    (filter.from.map_or(Uuid::nil(), floor), before.map_or(until, |before| until.min(before.as_uuid())))
}

/// The ids of one page, newest first.
pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &RecordFilter,
    page: Page,
) -> Result<Vec<VerificationId>> {
    let (oldest, mut end) = bounds(filter, page.before);
    let wanted = page.offset.saturating_add(page.limit);
    let mut found = Vec::new();
    // Where the walk begins matters to how long it takes alone, so this machine's time will do.
    let mut day = VerificationId::from_uuid(Uuid::now_v7().min(end)).created().day();
    let mut step = FIRST_STEP;
    while oldest < end {
        day -= step;
        let begin = if step > LONGEST_STEP || day < 0 { Uuid::nil() } else { start_of(day) };
        let missing = wanted - u32::try_from(found.len()).unwrap_or(wanted);
        let rows = IDS.query(filter, (begin.max(oldest), end), missing).fetch_all(&mut *connection).await?;
        for row in &rows {
            found.push(Columns::of(row).verification()?);
        }
        if found.len() >= usize::try_from(wanted).unwrap_or(usize::MAX) || begin <= oldest {
            break;
        }
        (end, step) = (begin, step * 4);
    }
    found.drain(..found.len().min(usize::try_from(page.offset).unwrap_or(usize::MAX)));
    Ok(found)
}

fn start_of(day: i64) -> Uuid {
    VerificationId::floor(Timestamp::from_ms(day * DAY_MS)).as_uuid()
}

/// These verifications of a project, each with its newest dispatch, newest first.
pub(super) async fn records(
    connection: &mut PgConnection,
    project: ProjectId,
    ids: &[VerificationId],
) -> Result<Vec<Record>> {
    let (first, last) = range(ids.iter().copied());
    let rows = query(concat!(
        "select ",
        verification_columns!(),
        ", ",
        dispatch_columns!(),
        " from unnest($1::uuid[]) as wanted (id)
         cross join lateral (
             select * from verifications v
             where v.id = wanted.id and v.project_id = $2 and v.id between $3 and $4
             offset 0
         ) v
         cross join lateral (
             select * from dispatches d
             where d.verification_id = wanted.id and d.newest and d.verification_id between $3 and $4
             offset 0
         ) d"
    ))
    .bind(ids.iter().map(VerificationId::as_uuid).collect::<Vec<_>>())
    .bind(project.as_uuid())
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await?;
    let read = |mut row: Columns<'_>| {
        let verification = verifications::read_columns(&mut row)?;
        Ok(Record { verification, dispatch: dispatches::read_columns(&mut row)? })
    };
    let mut records = rows.iter().map(|row| read(Columns::of(row))).collect::<Result<Vec<Record>>>()?;
    records.sort_unstable_by_key(|record| Reverse(record.verification.id));
    Ok(records)
}

/// How many match, counted no further than `at_most`.
pub(super) async fn count(connection: &mut PgConnection, filter: &RecordFilter, at_most: u32) -> Result<u32> {
    let row = COUNT.query(filter, bounds(filter, None), at_most).fetch_one(connection).await?;
    Ok(u32::try_from(Columns::of(&row).take::<i64>()?).unwrap_or(at_most))
}
