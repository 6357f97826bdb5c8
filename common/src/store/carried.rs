//! What providers have carried lately and what became of it: what routing learns from.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Result;
use crate::otp::channel::Channel;
use crate::otp::ids::VerificationId;
use crate::otp::time::Timestamp;

/// Dispatches that are looked at, the newest of those that are old enough to tell: few enough to be looked at often.
pub const SAMPLE: i32 = 5000;

/// Which dispatches are looked at, as of `now`.
#[derive(Debug, Clone, Copy)]
pub struct CarriedSince {
    pub now: Timestamp,
    /// What has not arrived so long after it was handed over is late.
    pub late: Duration,
    /// For receipts: opened within this time.
    pub receipts: Duration,
    /// A code that was not used so long after it was handed over will not be.
    pub settled: Duration,
    /// For codes: opened within this time.
    pub codes: Duration,
}

/// What a provider has carried over a channel for a country, in live mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    pub provider: String,
    pub channel: Channel,
    /// `None` for e-mail.
    pub country: Option<String>,
    pub counts: Counts,
}

/// What became of messages that are old enough to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that could have arrived, those that did in time, and those that did at all.
    pub handed: u32,
    pub in_time: u32,
    pub delivered: u32,
    /// Codes that could have come back, and those that did after nothing newer was sent. Without codes that are checked
    /// elsewhere.
    pub asked: u32,
    pub verified: u32,
}

#[async_trait]
pub trait Carriers {
    async fn carried(&self, since: &CarriedSince) -> Result<Vec<Carried>>;
}

/// The bounds as statements take them.
pub(super) struct Bounds {
    pub(super) receipts: (Uuid, Uuid),
    pub(super) late_ms: i64,
    pub(super) codes: (Uuid, Uuid),
}

impl Bounds {
    pub(super) fn of(since: &CarriedSince) -> Self {
        let floor = |time| VerificationId::floor(Timestamp::from_ms(since.now.as_ms() - millis(time))).as_uuid();
        Self {
            receipts: (floor(since.receipts), floor(since.late)),
            late_ms: millis(since.late),
            codes: (floor(since.codes), floor(since.settled)),
        }
    }
}

/// One group of a statement: its first counts, the rest are those of the other statement.
pub(super) type Group = (String, Channel, Option<String>, Counts);

/// Adds the groups of both statements up.
pub(super) fn together(groups: impl Iterator<Item = Group>) -> Vec<Carried> {
    let mut all: BTreeMap<(String, Channel, Option<String>), Counts> = BTreeMap::new();
    for (provider, channel, country, counts) in groups {
        let sum = all.entry((provider, channel, country)).or_default();
        sum.handed += counts.handed;
        sum.in_time += counts.in_time;
        sum.delivered += counts.delivered;
        sum.asked += counts.asked;
        sum.verified += counts.verified;
    }
    let carried = all.into_iter();
    carried.map(|((provider, channel, country), counts)| Carried { provider, channel, country, counts }).collect()
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
