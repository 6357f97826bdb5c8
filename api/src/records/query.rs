//! The query strings of the looking-back routes, each field checked and named when it is wrong.

use common::otp::changes::Dimension;
use common::otp::channel::Channel;
use common::otp::ids::VerificationId;
use common::otp::status::DispatchStatus;
use common::otp::target::Target;
use common::otp::time::{DAY_MS, HOUR_MS, Timestamp};
use common::store::records::{Count, Page, RecordFilter};
use common::tenancy::Tenant;

use crate::error::ApiError;
use crate::verify::server_id;

/// Pages reach so far; cursors go on without end.
const FARTHEST: u32 = 10_000;

/// The fields of a query string, decoded. Of a repeated field the last one counts.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(raw: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    fn get(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let value = self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match value {
            Some(value) if value.contains('\0') => Err(ApiError::field(format!("{name} must not contain NUL"))),
            value => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    fn read<T>(&self, name: &str, must: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| ApiError::field(format!("{name} must be {must}")))
    }

    /// A target in canonical form; a `+` that was not encoded arrives as a space.
    pub(super) fn target(&self) -> Result<Option<Target>, ApiError> {
        self.read("target", "an e-mail address or a phone number with its country code", |value| {
            let digits = value.trim();
            let bare = !digits.contains('@') && !digits.starts_with('+');
            let text = if bare { format!("+{digits}") } else { digits.to_owned() };
            Target::guess(&text, None).ok()
        })
    }
}

pub(super) struct RecordsQuery {
    pub(super) filter: RecordFilter,
    pub(super) page: u32,
    pub(super) limit: u32,
    cursor: Option<VerificationId>,
}

impl RecordsQuery {
    pub(super) fn parse(query: &Query, tenant: &Tenant) -> Result<Self, ApiError> {
        let number = |low: u32, high: u32| {
            move |value: &str| value.parse::<u32>().ok().filter(|number| (low..=high).contains(number))
        };
        let page = query.read("page", "a whole number from 1", number(1, u32::MAX))?.unwrap_or(1);
        let limit = query.read("limit", "a whole number from 1 to 100", number(1, 100))?.unwrap_or(10);
        let cursor = query.read("cursor", "the nextCursor of a reply", server_id)?;
        if cursor.is_none() && page.saturating_mul(limit) > FARTHEST {
            return Err(ApiError::field("page times limit must be at most 10000: use cursor to go on"));
        }
        let filter = RecordFilter {
            project: tenant.id(),
            modes: tenant.mode.visible(),
            channel: query.read("channel", "one of sms, email, whatsapp", |value| value.parse::<Channel>().ok())?,
            verified: query.read("verified", "true or false", |value| value.parse().ok())?,
            status: query.read(
                "status",
                "one of waiting, queued, sending, sent, delivered, undelivered, failed, expired",
                DispatchStatus::parse,
            )?,
            record: query.read("recordId", "1 to 128 characters", |value| {
                (value.chars().count() <= 128).then(|| value.to_owned())
            })?,
            from: query.read("dateFrom", DATE, |value| Some(parse_date(value)?.0))?,
            until: query.read("dateTo", DATE, |value| Some(parse_date(value)?.1))?,
        };
        Ok(Self { filter, page, limit, cursor })
    }

    pub(super) fn page(&self) -> Page {
        let offset = if self.cursor.is_some() { 0 } else { (self.page - 1) * self.limit };
        Page { before: self.cursor, offset, limit: self.limit }
    }

    /// Which hourly counters add up to this filter's matches, if any do.
    pub(super) fn as_statistic(&self) -> Option<Statistic> {
        let filter = &self.filter;
        let whole_hours = [filter.from, filter.until].into_iter().flatten().all(|at| at == at.hour());
        if filter.record.is_some() || !whole_hours {
            return None;
        }
        // Relayed ones are listed as well, and counted apart: by channel, as the others.
        let (dimensions, value): (&[Dimension], _) = match (filter.channel, filter.verified, filter.status) {
            (None, None, None) => (&[Dimension::Total, Dimension::Relayed], None),
            (Some(channel), None, None) => (&[Dimension::Channel, Dimension::Relayed], Some(channel.as_str())),
            (None, None, Some(status)) => (&[Dimension::Status], Some(status.as_str())),
            (channel, Some(true), None) => (&[Dimension::Verified], channel.map(Channel::as_str)),
            _ => return None,
        };
        Some(Statistic { dimensions, value })
    }
}

/// The counters of some dimensions, of one value where one is given.
pub(super) struct Statistic {
    pub(super) dimensions: &'static [Dimension],
    value: Option<&'static str>,
}

impl Statistic {
    pub(super) fn sum(&self, counts: &[Count]) -> u64 {
        let counted = counts.iter().filter(|count| self.value.is_none_or(|value| value == count.value));
        u64::try_from(counted.map(|count| count.count).sum::<i64>()).unwrap_or(0)
    }
}

const DATE: &str = "a date such as 2025-07-01 or a time such as 2025-07-01T10:30:00Z";

/// The first instant that is meant and the first one that is not: a date is a whole UTC day, a time one millisecond.
fn parse_date(text: &str) -> Option<(Timestamp, Timestamp)> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        let start = time.as_millisecond();
        return Some((Timestamp::from_ms(start), Timestamp::from_ms(start + 1)));
    }
    let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10)?;
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some((Timestamp::from_ms(start), Timestamp::from_ms(start + DAY_MS)))
}

/// The bounds of statistics, rounded out to whole hours.
pub(super) fn stats_bounds(query: &Query) -> Result<(Option<Timestamp>, Option<Timestamp>), ApiError> {
    let from = query.read("dateFrom", DATE, |value| Some(parse_date(value)?.0.hour()))?;
    let until = query.read("dateTo", DATE, |value| {
        let end = parse_date(value)?.1;
        let hour = end.hour();
        Some(if hour == end { end } else { Timestamp::from_ms(hour.as_ms() + HOUR_MS) })
    })?;
    Ok((from, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(raw: &str) -> (Option<String>, Option<String>) {
        let (from, until) = stats_bounds(&Query::parse(Some(raw))).expect("bounds");
        (from.map(Timestamp::rfc3339), until.map(Timestamp::rfc3339))
    }

    #[test]
    fn date_only_bounds_are_whole_utc_days_both_inclusive() {
        let (from, until) = bounds("dateFrom=2025-07-01&dateTo=2025-07-13");
        assert_eq!(from.as_deref(), Some("2025-07-01T00:00:00.000Z"));
        assert_eq!(until.as_deref(), Some("2025-07-14T00:00:00.000Z"));
    }

    #[test]
    fn times_are_rounded_out_to_hours() {
        let (from, until) = bounds("dateFrom=2025-07-01T10:30:00%2B02:00&dateTo=2025-07-01T10:30:00Z");
        assert_eq!(from.as_deref(), Some("2025-07-01T08:00:00.000Z"));
        assert_eq!(until.as_deref(), Some("2025-07-01T11:00:00.000Z"));
    }

    #[test]
    fn other_dates_are_refused_by_name() {
        for bad in ["yesterday", "2025-13-01", "2025-07-01T25:00:00Z", "20250701"] {
            let error = stats_bounds(&Query::parse(Some(&format!("dateFrom={bad}")))).expect_err(bad);
            assert!(error.message.starts_with("dateFrom must be"), "{}", error.message);
        }
    }

    #[test]
    fn a_plus_that_was_not_encoded_is_understood() {
        for raw in ["target=+14155552671", "target=%2B14155552671", "target=14155552671"] {
            let target = Query::parse(Some(raw)).target().expect("target").expect("some");
            assert_eq!(target.canonical(), "+14155552671");
        }
    }
}
