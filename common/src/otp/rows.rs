//! The rows of the store as the domain sees them.

use super::chain::{Fallback, OwnTarget};
use super::channel::{Channel, Mode};
use super::ids::{AttemptId, DispatchId, ProjectId, VerificationId};
use super::limits::Window;
use super::status::{AttemptStatus, DispatchStatus, ReceiptStatus};
use super::time::Timestamp;
use std::collections::HashMap;
use std::time::Duration;

/// A blind index: a keyed hash under which a row is found without saying what it is of.
pub type Index = [u8; 16];

/// A blind index under the newest key, and the same under each older key that is still honoured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Indexes {
    pub newest: Index,
    pub older: Box<[Index]>,
}

impl Indexes {
    pub fn all(&self) -> impl Iterator<Item = Index> + '_ {
        std::iter::once(self.newest).chain(self.older.iter().copied())
    }

    /// A subject's windows under whichever key has counted most.
    #[must_use]
    pub fn times(&self, found: &HashMap<Index, LimitTimes>) -> LimitTimes {
        let rows = self.all().filter_map(|key| found.get(&key));
        rows.fold(LimitTimes::default(), |most, row| std::array::from_fn(|i| most[i].max(row[i])))
    }
}

/// How a verification ended, or that it has not. That its time is over is not stored: `expires` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Open,
    Verified,
    Canceled,
    Superseded,
}

impl State {
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Open => 0,
            Self::Verified => 1,
            Self::Canceled => 2,
            Self::Superseded => 3,
        }
    }

    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Open),
            1 => Some(Self::Verified),
            2 => Some(Self::Canceled),
            3 => Some(Self::Superseded),
            _ => None,
        }
    }
}

/// Something only the right key can open: nonce, ciphertext and tag, under the key `key_id`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The budget that a superseding verification takes over from the one before it, until that one's life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarriedGuesses {
    pub left: i16,
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    pub id: VerificationId,
    pub project: ProjectId,
    pub mode: Mode,
    /// The channel of its first dispatch.
    pub channel: Channel,
    /// ISO 3166 region of a phone; `ZZ` where a number has none; `None` for e-mail.
    pub country: Option<String>,
    /// The caller's reference; empty for none.
    pub record: String,
    pub locale: String,
    /// The target as it is delivered to, under the project's key of the day.
    pub target: Sealed,
    /// Blind index of the target under the same key, so that it is forgotten with it.
    pub target_tag: Index,
    /// Which root key hashes and seals the code.
    pub key_id: i32,
    pub code_hash: [u8; 32],
    /// Erased when the verification closes.
    pub code: Option<Sealed>,
    pub guesses: i16,
    pub budget: i16,
    pub carried: Option<CarriedGuesses>,
    /// How often it was asked for: dispatches that are no fallbacks.
    pub sends: i16,
    pub expires: Timestamp,
    pub state: State,
    pub closed: Option<Timestamp>,
    /// Whether success may open a session.
    pub session: bool,
    /// Its code is the caller's own: who knows it need not hold the target.
    pub own_code: bool,
}

impl Verification {
    #[must_use]
    pub fn life(&self) -> Duration {
        self.expires.since(self.id.created())
    }

    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == State::Open && now < self.expires
    }

    /// Guesses that may be made in all, as of `now`.
    #[must_use]
    pub fn budget_at(&self, now: Timestamp) -> i16 {
        match self.carried {
            Some(carried) if now < carried.until => carried.left.min(self.budget),
            _ => self.budget,
        }
    }

    #[must_use]
    pub fn guesses_left(&self, now: Timestamp) -> i16 {
        (self.budget_at(now) - self.guesses).max(0)
    }

    /// Somebody else made its code and checks it: it is delivered and takes no guesses.
    #[must_use]
    pub const fn is_relayed(&self) -> bool {
        self.budget == 0
    }

    /// Its own budget is used up: it stays locked until it expires. While only the guesses carried over from its
    /// predecessor are used up, it waits for that one's end.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.guesses >= self.budget && !self.is_relayed()
    }

    /// How long until guesses are taken again, where none is left now.
    #[must_use]
    pub fn guesses_return(&self, now: Timestamp) -> Duration {
        match self.carried {
            Some(carried) if !self.is_locked() => carried.until.since(now),
            _ => self.expires.since(now),
        }
    }

    /// The last instant at which its code may be handed to a provider.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        super::schedule::deadline(self.expires, self.life())
    }
}

/// Where the token of a dispatch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Charge {
    Reserved,
    Settled,
    Returned,
    /// A fallback takes its own when it goes out.
    Untaken,
}

impl Charge {
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Reserved => 0,
            Self::Settled => 1,
            Self::Returned => 2,
            Self::Untaken => 3,
        }
    }

    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Reserved),
            1 => Some(Self::Settled),
            2 => Some(Self::Returned),
            3 => Some(Self::Untaken),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    pub id: DispatchId,
    pub project: ProjectId,
    pub mode: Mode,
    pub channel: Channel,
    /// Where it goes, where that is not its verification's target.
    pub target: Option<OwnTarget>,
    /// Whether it is its verification's latest that has gone out: the one whose status counts in the statistics.
    pub newest: bool,
    pub status: DispatchStatus,
    /// The last attempt that was claimed, 0 before the first.
    pub attempt: i16,
    /// While set, a worker holds that attempt until then.
    pub lease: Option<Timestamp>,
    pub first_attempt: Option<Timestamp>,
    /// The pass over the providers it is in, from 0.
    pub pass: i16,
    /// The providers asked in this pass.
    pub tried: Vec<String>,
    /// Attempts whose outcome nobody knows.
    pub ambiguous: i16,
    /// The provider of the last attempt that has ended.
    pub provider: Option<String>,
    /// Why it ended, or why its last attempt failed.
    pub reason: Option<String>,
    pub charge: Charge,
    pub created: Timestamp,
    pub sent: Option<Timestamp>,
    pub delivered: Option<Timestamp>,
    /// It waits, or waited, behind another one.
    pub fallback: Option<Fallback>,
}

impl Dispatch {
    /// Held by a worker whose lease still runs.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.lease.is_some_and(|lease| now < lease)
    }

    /// Not a fallback that waits or was never needed.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.fallback.is_none_or(|fallback| fallback.fired.is_some())
    }

    /// When it began: was accepted, or fired.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        self.fallback.filter(|fallback| fallback.fired.is_some()).map_or(self.created, |fallback| fallback.at)
    }

    /// Whether somebody may have got its code: a provider has it, or nobody knows that none has.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        match self.status {
            DispatchStatus::Waiting => false,
            DispatchStatus::Queued | DispatchStatus::Failed | DispatchStatus::Expired => self.ambiguous > 0,
            DispatchStatus::Sending
            | DispatchStatus::Sent
            | DispatchStatus::Delivered
            | DispatchStatus::Undelivered => true,
        }
    }

    /// Whether any provider was asked to take it, whatever that one said: who answers 503 may have passed it on.
    #[must_use]
    pub const fn was_offered(&self) -> bool {
        self.provider.is_some() || self.may_have_arrived()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub id: AttemptId,
    /// `None` where the worker died before it said whom it called.
    pub provider: Option<String>,
    /// Why that one, in words.
    pub chosen: Option<String>,
    pub started: Timestamp,
    pub finished: Timestamp,
    pub status: AttemptStatus,
    /// The name of the [`super::provider_error::Cause`]; `None` when it was accepted.
    pub cause: Option<String>,
    /// What the provider said, in its words, shortened.
    pub detail: Option<String>,
    pub message_id: Option<String>,
}

/// What a provider told us later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub id: uuid::Uuid,
    pub provider: String,
    pub message_id: String,
    /// Known at once where the provider's callback carries our ids; else found by its message id.
    pub attempt: Option<AttemptId>,
    pub status: ReceiptStatus,
    pub detail: Option<String>,
    pub received: Timestamp,
}

/// Which verification a target and a record id stand for at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTarget {
    pub key: OpenTargetKey,
    pub verification: VerificationId,
    pub expires: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenTargetKey {
    pub project: ProjectId,
    pub target: Index,
    pub record: String,
    pub mode: Mode,
}

/// A stored first reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub key: IdempotencyKey,
    /// Hash of the canonical request.
    pub request: [u8; 32],
    pub dispatch: DispatchId,
    pub expires_in: i32,
    pub created: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    pub project: ProjectId,
    pub mode: Mode,
    pub key: Index,
}

/// A dispatch that still has work, and when it must be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub dispatch: DispatchId,
    pub at: Timestamp,
    pub deadline: Timestamp,
    /// How often the relay has published it.
    pub published: i16,
}

/// The counters of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// `None` for unlimited.
    pub tokens: Option<i64>,
    pub used: i64,
    /// The stored instant of its rate window.
    pub rate: Timestamp,
}

/// A row of up to three windows over the same subject.
pub type LimitTimes = [Timestamp; 3];

/// Up to three windows that guard one subject: a target, an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub name: LimitName,
    pub key: Indexes,
    pub windows: Vec<Window>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitName {
    Project,
    Target,
    /// A record id that has a cooldown of its own.
    Record,
    Ip,
}
