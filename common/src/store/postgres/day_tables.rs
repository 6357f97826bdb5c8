//! Which tables a statement names. A plan of a partitioned table locks the partitions of all days, and opens those whose
//! rows it locks, before it knows which of them it needs: statements whose rows are all of one present day name that day's
//! tables instead. Their texts have `{day}` behind the name of a table.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::partitions;
use crate::otp::ids::VerificationId;
use crate::otp::time::Timestamp;
use crate::store::Result;

/// How soon after a day's tables were not there they are looked for again.
const ABSENT_FOR: Duration = Duration::from_secs(60);

/// What a process knows of the tables of present days. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct DayTables {
    asked: Arc<Mutex<Option<Asked>>>,
}

#[derive(Debug, Clone)]
struct Asked {
    at: Timestamp,
    present: Present,
}

/// Today and the day before, where each has its tables. Every project keeps what is in them: nobody drops them.
#[derive(Debug, Clone)]
pub(super) struct Present {
    days: Arc<[Day]>,
}

#[derive(Debug)]
struct Day {
    number: i64,
    /// How the names of its tables end.
    ending: String,
}

impl DayTables {
    /// Those of now. The server is asked once a day.
    pub(super) async fn present(&self, connection: &mut PgConnection, now: Timestamp) -> Result<Present> {
        let known = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.is_good(now)) {
            return Ok(known.present);
        }
        let days = partitions::attached(connection, now.day() - 1..=now.day()).await?;
        let days = days.into_iter().map(|(number, ending)| Day { number, ending });
        let present = Present { days: days.collect() };
        let asked = Asked { at: now, present: present.clone() };
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        Ok(present)
    }
}

impl Asked {
    fn is_good(&self, now: Timestamp) -> bool {
        let is_whole = self.present.days.len() == 2;
        self.at.day() == now.day() && (is_whole || now.since(self.at) < ABSENT_FOR)
    }
}

impl Present {
    /// The text for rows of verifications from the first to the last.
    pub(super) fn text(
        &self,
        sql: &'static str,
        rows: impl Iterator<Item = VerificationId> + Clone,
    ) -> AssertSqlSafe<String> {
        let first = rows.clone().min().map(|id| id.created().day());
        let last = rows.max().map(|id| id.created().day());
        let one = first.filter(|_| first == last);
        let day = one.and_then(|one| self.days.iter().find(|day| day.number == one));
        AssertSqlSafe(sql.replace("{day}", day.map_or("", |day| &day.ending)))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlSafeStr;

    use super::*;
    use crate::otp::time::DAY_MS;

    #[test]
    fn a_text_names_a_day_where_all_rows_are_of_it_and_its_tables_are_there() {
        let day = |number, ending: &str| Day { number, ending: ending.to_owned() };
        let present = Present { days: [day(20_281, "_20250712"), day(20_282, "_20250713")].into() };
        let text = |times: &[i64]| {
            let ids: Vec<_> = times.iter().map(|ms| VerificationId::new(Timestamp::from_ms(*ms))).collect();
            present.text("a{day}, b{day}", ids.iter().copied()).into_sql_str().as_str().to_owned()
        };
        let (before, today, end) = (20_282 * DAY_MS - 1, 20_282 * DAY_MS, 20_283 * DAY_MS - 1);
        assert_eq!(text(&[today, end]), "a_20250713, b_20250713");
        assert_eq!(text(&[before]), "a_20250712, b_20250712");
        for elsewhere in [&[before, today][..], &[end, end + 1], &[end + 1], &[before - DAY_MS], &[]] {
            assert_eq!(text(elsewhere), "a, b", "{elsewhere:?}");
        }
    }
}
