//! One verification as the program would have left it: what it was to, what became of it, and its rows in every table.

use std::collections::HashMap;

use common::keys::{DayKey, Keyring};
use common::otp::changes::Dimension;
use common::otp::channel::{Channel, Mode};
use common::otp::ids::{ProjectId, VerificationId};
use common::otp::rows::{Charge, State};
use common::otp::settings::ProjectSettings;
use common::otp::status::{AttemptStatus, DispatchStatus, ReceiptStatus};
use common::otp::time::Timestamp;
use rand::rngs::ThreadRng;
use rand::{Rng, RngExt};
use uuid::Uuid;

use super::spread::{DAY_MS, HOUR_MS, Weighted};
use super::tables::Ready;
use crate::failure::Outcome;

/// Life of the codes of projects that bench makes.
const TTL_MS: i64 = 600_000;
const MESSAGE_IDS_KEPT: i64 = 7 * DAY_MS;
const BUDGET: i16 = 5;
const COUNTRIES: [(&str, &str); 40] = [
    ("DE", "+4915"),
    ("US", "+1212"),
    ("IN", "+9198"),
    ("GB", "+4477"),
    ("FR", "+3361"),
    ("BR", "+5511"),
    ("TR", "+9053"),
    ("ES", "+3461"),
    ("IT", "+3934"),
    ("PL", "+4850"),
    ("NL", "+3161"),
    ("AT", "+4366"),
    ("CH", "+4179"),
    ("SE", "+4670"),
    ("MX", "+5255"),
    ("ID", "+6281"),
    ("NG", "+2348"),
    ("ZA", "+2782"),
    ("AE", "+9715"),
    ("SA", "+9665"),
    ("EG", "+2010"),
    ("PK", "+9230"),
    ("PH", "+6391"),
    ("VN", "+8490"),
    ("TH", "+6681"),
    ("JP", "+8190"),
    ("KR", "+8210"),
    ("AU", "+6141"),
    ("CA", "+1416"),
    ("AR", "+5491"),
    ("CO", "+5730"),
    ("CL", "+5697"),
    ("PE", "+5198"),
    ("MA", "+2126"),
    ("KE", "+2547"),
    ("UA", "+3805"),
    ("RO", "+4072"),
    ("CZ", "+4206"),
    ("PT", "+3519"),
    ("GR", "+3069"),
];

/// What all rows are made with.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) now: i64,
    pub(super) key_id: i32,
    pub(super) projects: Vec<ProjectId>,
    pub(super) keys: Keyring,
    turns: Weighted<usize>,
    channels: Weighted<Channel>,
    countries: Weighted<usize>,
    limits: ProjectSettings,
}

/// Counters of one hour: by project, mode, dimension and value.
pub(super) type Counters = HashMap<(usize, i16, i16, &'static str), i64>;

/// Where the rows of a day go while they are made.
pub(super) struct Making<'a> {
    pub(super) maker: &'a Maker,
    /// Of each project, for the day.
    pub(super) day_keys: &'a [std::sync::Arc<DayKey>],
    pub(super) rng: ThreadRng,
    pub(super) ready: &'a mut Ready,
    pub(super) counters: &'a mut Counters,
    /// Tokens used, by project.
    pub(super) used: &'a mut [i64],
}

/// What the rows of one verification have in common.
struct Of {
    id: Uuid,
    at: i64,
    project: usize,
    mode: i16,
    channel: Channel,
}

/// How a dispatch ended.
struct Ended {
    status: DispatchStatus,
    provider: &'static str,
    attempts: i16,
    first_attempt: i64,
    sent: Option<i64>,
    delivered: Option<i64>,
    reason: Option<&'static str>,
    charge: Charge,
}

impl Maker {
    pub(super) fn new(now: i64, projects: Vec<ProjectId>, keys: Keyring) -> Self {
        let channels = [(Channel::Sms, 0.68), (Channel::Whatsapp, 0.2), (Channel::Email, 0.12)];
        Self {
            now,
            key_id: keys.newest_id(),
            turns: Weighted::zipf(0..projects.len()),
            projects,
            keys,
            channels: Weighted::new(channels),
            countries: Weighted::zipf(0..COUNTRIES.len()),
            limits: ProjectSettings::default(),
        }
    }
}

/// Providers of a channel, in the order in which they are asked.
const fn providers(channel: Channel) -> [&'static str; 2] {
    match channel {
        Channel::Sms => ["twilio", "vonage"],
        Channel::Whatsapp => ["whatsapp", "infobip"],
        Channel::Email => ["ses", "sendgrid"],
    }
}

/// An id of this millisecond, as UUIDv7 has them.
fn id_at(ms: i64, rng: &mut impl Rng) -> Uuid {
    let ms = u64::try_from(ms).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &rng.random()).into_uuid()
}

impl Making<'_> {
    /// A verification that was opened at this time, with everything that came of it.
    pub(super) fn verification(&mut self, at: i64) -> Outcome {
        let project = self.maker.turns.pick(&mut self.rng);
        let channel = self.maker.channels.pick(&mut self.rng);
        let mode = if self.rng.random_bool(0.02) { Mode::Sandbox } else { Mode::Live };
        let of = Of { id: id_at(at, &mut self.rng), at, project, mode: mode.code(), channel };
        let country = (channel != Channel::Email).then(|| COUNTRIES[self.maker.countries.pick(&mut self.rng)]);
        let target = match country {
            Some((_, prefix)) => format!("{prefix}{:08}", self.rng.random_range(0..100_000_000)),
            None => format!("somebody.{}@example.com", self.rng.random_range(0..10_000_000)),
        };
        let sends = if self.rng.random_bool(0.06) { 2 } else { 1 };
        let mut last = at;
        for n in 1..=sends {
            last = at + i64::from(n - 1) * 41_000;
            self.dispatch(&of, n, last, n == sends);
        }
        let verified = self.rng.random_bool(0.74);
        self.count(&of, Dimension::Total, "", 1);
        self.count(&of, Dimension::Channel, channel.as_str(), 1);
        if let Some((region, _)) = country {
            self.count(&of, Dimension::Country, region, 1);
        }
        if verified {
            self.count(&of, Dimension::Verified, channel.as_str(), 1);
        }
        self.write(&of, country.map(|(region, _)| region), &target, sends, verified.then_some(last))?;
        self.short_lived(&of, &target, last);
        Ok(())
    }

    fn count(&mut self, of: &Of, dimension: Dimension, value: &'static str, by: i64) {
        *self.counters.entry((of.project, of.mode, dimension.code(), value)).or_default() += by;
    }

    /// The row of a verification whose life is over; `verified` is when its code was sent last, where that came back.
    fn write(&mut self, of: &Of, country: Option<&str>, target: &str, sends: i16, verified: Option<i64>) -> Outcome {
        let key = &self.day_keys[of.project];
        let sealed = key.seal_target(VerificationId::from_uuid(of.id), target)?;
        let wrong = i16::from(self.rng.random_bool(0.15));
        let closed = verified.map(|sent| sent + self.rng.random_range(4_000..90_000));
        let record =
            if self.rng.random_bool(0.4) { format!("user-{}", self.rng.random::<u32>()) } else { String::new() };
        self.ready.verifications.add(&[
            &of.id,
            &self.maker.projects[of.project].as_uuid(),
            &of.mode,
            &of.channel.code(),
            &country,
            &record.as_str(),
            &"en",
            &sealed.0.as_slice(),
            &key.tag(target),
            &self.maker.key_id,
            &self.rng.random::<[u8; 32]>(),
            &None::<&[u8]>,
            &(wrong + i16::from(closed.is_some())),
            &BUDGET,
            &sends,
            &(of.at + TTL_MS),
            &if closed.is_some() { State::Verified } else { State::Open }.code(),
            &closed,
            &false,
        ]);
        Ok(())
    }

    fn dispatch(&mut self, of: &Of, n: i16, created: i64, newest: bool) {
        let ended = self.ended(of, n, created);
        if newest {
            self.count(of, Dimension::Status, ended.status.as_str(), 1);
            self.count(of, Dimension::Provider, ended.provider, 1);
        }
        self.used[of.project] += i64::from(ended.charge == Charge::Settled);
        let tried = match ended.attempts {
            1 => ended.provider.to_owned(),
            _ => providers(of.channel).join("\n"),
        };
        self.ready.dispatches.add(&[
            &of.id,
            &n,
            &self.maker.projects[of.project].as_uuid(),
            &of.mode,
            &of.channel.code(),
            &newest,
            &ended.status.code(),
            &ended.attempts,
            &Some(ended.first_attempt),
            &0_i16,
            &tried.as_str(),
            &0_i16,
            &Some(ended.provider),
            &ended.reason,
            &ended.charge.code(),
            &created,
            &ended.sent,
            &ended.delivered,
        ]);
    }

    /// What became of a dispatch, and the rows of its attempts and receipts.
    fn ended(&mut self, of: &Of, n: i16, created: i64) -> Ended {
        let [first, second] = providers(of.channel);
        let begun = created + self.rng.random_range(1..12);
        let mut ended = Ended {
            status: DispatchStatus::Sent,
            provider: first,
            attempts: 1,
            first_attempt: begun,
            sent: None,
            delivered: None,
            reason: None,
            charge: Charge::Returned,
        };
        let fate = self.rng.random::<f64>();
        if fate < 0.025 {
            self.failed(of, n, 1, first, begun, "rejected");
            (ended.status, ended.reason) = (DispatchStatus::Failed, Some("rejected"));
            return ended;
        }
        let mut handed = begun;
        if fate < 0.07 {
            handed = self.failed(of, n, 1, first, begun, "unavailable");
            (ended.provider, ended.attempts) = (second, 2);
        }
        if fate < 0.035 {
            self.failed(of, n, 2, second, handed, "unavailable");
            (ended.status, ended.reason) = (DispatchStatus::Expired, Some("unavailable"));
            return ended;
        }
        ended.charge = Charge::Settled;
        self.taken(of, n, handed, &mut ended);
        ended
    }

    /// An attempt that its provider did not take; when it ended.
    fn failed(&mut self, of: &Of, dispatch: i16, n: i16, provider: &str, begun: i64, cause: &str) -> i64 {
        let finished = begun + self.rng.random_range(20..400);
        let chosen = if n == 1 { "first in the list" } else { "next in the list" };
        self.ready.attempts.add(&[
            &of.id,
            &dispatch,
            &n,
            &Some(provider),
            &begun,
            &finished,
            &AttemptStatus::Failed.code(),
            &Some(cause),
            &Some("answered 4xx or 5xx"),
            &None::<&str>,
            &Some(chosen),
        ]);
        finished
    }

    /// The attempt that its provider took, its message id while that is kept, and what a receipt said.
    fn taken(&mut self, of: &Of, dispatch: i16, begun: i64, ended: &mut Ended) {
        let finished = begun + self.rng.random_range(20..400);
        let message = Uuid::from_u128(self.rng.random()).simple().to_string();
        ended.sent = Some(finished);
        let heard = finished + self.rng.random_range(400..9_000);
        let (status, receipt) = match self.rng.random_range(0..100) {
            0..88 => (AttemptStatus::Delivered, Some(ReceiptStatus::Delivered)),
            88..92 => (AttemptStatus::Undelivered, Some(ReceiptStatus::Undelivered)),
            _ => (AttemptStatus::Sent, None),
        };
        ended.status = status.dispatch_status();
        ended.delivered = (status == AttemptStatus::Delivered).then_some(heard);
        let provider = ended.provider;
        self.ready.attempts.add(&[
            &of.id,
            &dispatch,
            &ended.attempts,
            &Some(provider),
            &begun,
            &finished,
            &status.code(),
            &None::<&str>,
            &None::<&str>,
            &Some(message.as_str()),
            &Some(if ended.attempts == 1 { "first in the list" } else { "next in the list" }),
        ]);
        if self.maker.now - finished < MESSAGE_IDS_KEPT {
            let (n, message) = (ended.attempts, message.as_str());
            self.ready.message_ids.add(&[&provider, &message, &of.id, &dispatch, &n, &finished]);
        }
        if let Some(receipt) = receipt {
            let (id, n) = (id_at(heard, &mut self.rng), ended.attempts);
            let (message, of_attempt) = (message.as_str(), (Some(of.id), Some(dispatch), Some(n)));
            let fields: [&dyn super::copy::Field; 8] =
                [&id, &provider, &message, &of_attempt.0, &of_attempt.1, &of_attempt.2, &receipt.code(), &heard];
            self.ready.receipts.add(&fields);
        }
    }

    /// Rows that only the last day has: pointers, replies, limits.
    fn short_lived(&mut self, of: &Of, target: &str, last: i64) {
        let (now, project) = (self.maker.now, self.maker.projects[of.project]);
        let index = |rng: &mut ThreadRng| rng.random::<[u8; 16]>();
        if now - of.at - TTL_MS < DAY_MS {
            let key = index(&mut self.rng);
            let fields: [&dyn super::copy::Field; 6] =
                [&project.as_uuid(), &key, &"", &of.mode, &of.id, &(of.at + TTL_MS)];
            self.ready.open_targets.add(&fields);
        }
        if now - of.at < DAY_MS && self.rng.random_bool(0.5) {
            let (key, request) = (index(&mut self.rng), self.rng.random::<[u8; 32]>());
            let fields: [&dyn super::copy::Field; 8] =
                [&project.as_uuid(), &of.mode, &key, &request, &of.id, &1_i16, &600_i32, &of.at];
            self.ready.idempotency_keys.add(&fields);
        }
        let limits = &self.maker.limits;
        let times = [
            last + i64::from(limits.cooldown) * 1000,
            last + HOUR_MS / i64::from(limits.sends_per_hour),
            last + DAY_MS / i64::from(limits.sends_per_day),
        ];
        if times[2] > now {
            let key = self.maker.keys.target_limit(project, Mode::from_code(of.mode), target).newest;
            self.ready.limits.add(&[&key, &times[0], &times[1], &times[2]]);
        }
    }
}

/// The counters of an hour as rows.
pub(super) fn count_up(maker: &Maker, hour: Timestamp, counters: &mut Counters, ready: &mut Ready) {
    for ((project, mode, dimension, value), count) in counters.drain() {
        let project = maker.projects[project].as_uuid();
        ready.stats.add(&[&project, &mode, &hour.as_ms(), &dimension, &value, &count]);
    }
}
