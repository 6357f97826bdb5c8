//! Chains: dispatches that wait behind another one of the same send, and go out only where that does not arrive.
//!
//! They are numbered on from the first one without gaps, so whatever lies between a fallback's `first` and its own number
//! came before it in its chain.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::channel::Channel;
use super::claim::dead;
use super::ids::{DispatchId, VerificationId};
use super::rows::{Charge, Dispatch, Due, Sealed, Verification};
use super::schedule;
use super::status::DispatchStatus;
use super::time::Timestamp;

/// Fallbacks that one send may have.
pub const MOST: usize = 3;
/// The same as a distance between numbers.
pub const REACH: i16 = 3;
/// Seconds that a dispatch may be given to arrive.
pub const SECONDS: RangeInclusive<u32> = 5..=300;

pub(super) const ALREADY_DELIVERED: &str = "already delivered";
pub(super) const REPLACED: &str = "replaced by its fallback";

/// What a project falls back on by default: the same target by another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub channel: Channel,
    /// Seconds that what went out before it is given.
    pub after: u32,
}

/// A fallback as a send asks for it.
#[derive(Debug, Clone)]
pub struct Planned {
    pub channel: Channel,
    pub after: Duration,
    pub target: Option<OwnTarget>,
}

/// A target that is not its verification's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTarget {
    pub sealed: Sealed,
    /// The id under which, and under whose day's key, it is sealed: that of the send that asked for it.
    pub sealed_as: VerificationId,
    /// ISO 3166 region of a phone, as a verification has it.
    pub country: Option<String>,
}

/// What makes a dispatch a fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// The number of the dispatch that its chain begins with.
    pub first: i16,
    /// How long the one before it is given.
    pub after: Duration,
    /// When its turn comes, unless the one before ends earlier; or when it went.
    pub at: Timestamp,
    /// Why it went out; `None` for one that has not.
    pub fired: Option<Fired>,
}

/// What became of the dispatch before, so that a fallback went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fired {
    /// No receipt said in time that it had arrived.
    NotDelivered,
    Undelivered,
    Failed,
    Expired,
}

impl Fired {
    const ALL: [Self; 4] = [Self::NotDelivered, Self::Undelivered, Self::Failed, Self::Expired];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotDelivered => "not delivered in time",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::NotDelivered => 0,
            Self::Undelivered => 1,
            Self::Failed => 2,
            Self::Expired => 3,
        }
    }

    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|fired| fired.code() == code)
    }
}

/// Whether a fallback that goes out `after` the send still finds a code of this life worth sending.
#[must_use]
pub fn is_in_time(after: Duration, life: Duration) -> bool {
    after < life.saturating_sub(schedule::useful_remainder(life))
}

/// Everything that is wrong with the steps of a project whose codes live so long.
pub fn problems(steps: &[Step], life: Duration) -> impl Iterator<Item = String> {
    let mut problems = Vec::new();
    if steps.len() > MOST {
        problems.push(format!("fallback: there may be {MOST} at most"));
    }
    let mut total = Duration::ZERO;
    for (n, step) in steps.iter().enumerate() {
        let name = step.channel.as_str();
        total += Duration::from_secs(step.after.into());
        if step.channel == Channel::Email {
            problems.push("fallback: email needs another target than a phone has: ask for it in the send".to_owned());
        }
        if steps[..n].iter().any(|before| before.channel == step.channel) {
            problems.push(format!("fallback: {name} is there twice"));
        }
        if !SECONDS.contains(&step.after) {
            let (low, high) = (SECONDS.start(), SECONDS.end());
            problems.push(format!("fallback: {name} must come {low} to {high} seconds after, not {}", step.after));
        } else if !is_in_time(total, life) {
            problems.push(format!("fallback: {name} would go out when a code is of no use any more (see ttl)"));
        }
    }
    problems.into_iter()
}

/// The dispatches that wait behind `first`: those whose turn would come before the last instant at which their code may go
/// out. A verification that is sent again may have less left than its chain was made for.
pub(super) fn plan(first: &Dispatch, planned: &[Planned], deadline: Timestamp) -> Vec<Dispatch> {
    let mut at = first.created;
    let timed = (first.id.n + 1..).zip(planned).map(|(n, planned)| {
        at = at + planned.after;
        (n, planned, at)
    });
    let in_time = timed.take_while(|(.., at)| *at < deadline);
    let one = in_time.map(|(n, planned, at)| Dispatch {
        id: DispatchId { n, ..first.id },
        channel: planned.channel,
        target: planned.target.clone(),
        newest: false,
        status: DispatchStatus::Waiting,
        charge: Charge::Untaken,
        fallback: Some(Fallback { first: first.id.n, after: planned.after, at, fired: None }),
        ..first.clone()
    });
    one.collect()
}

/// When a dispatch that waits is looked at: at its time, and at the deadline to be ended.
pub(super) fn due(waiting: &Dispatch, at: Timestamp, verification: &Verification) -> Due {
    let deadline = verification.deadline();
    Due { dispatch: waiting.id, at: at.min(deadline), deadline, published: 0 }
}

/// Dispatches by id, some of them of one chain.
pub type Dispatches = HashMap<DispatchId, Dispatch>;

/// Since when a dispatch has its time to arrive: since a provider took it or, while none has, since it was first tried.
pub(super) fn out_since(dispatch: &Dispatch) -> Option<Timestamp> {
    dispatch.sent.or(dispatch.first_attempt)
}

/// What follows for those behind a dispatch that has just moved: the next one is due at once where it has ended in vain, is
/// given its time where it has been handed over, and none is needed where it has arrived, not even one that is between
/// two attempts. Answers the one that is due at once.
pub(super) fn follow(
    now: Timestamp,
    changes: &mut Changes,
    dispatches: &mut Dispatches,
    verification: Option<&Verification>,
    moved: &Dispatch,
) -> Option<DispatchId> {
    match moved.status {
        DispatchStatus::Delivered => {
            let is_free = |one: &Dispatch| {
                matches!(one.status, DispatchStatus::Waiting | DispatchStatus::Queued) && one.lease.is_none()
            };
            for one in later(dispatches, moved).into_iter().filter(is_free) {
                let after = changes.end_unsent(&one, DispatchStatus::Expired, ALREADY_DELIVERED);
                dispatches.insert(after.id, after);
            }
            None
        }
        DispatchStatus::Failed | DispatchStatus::Expired | DispatchStatus::Undelivered => {
            let verification = verification.filter(|verification| dead(verification, now).is_none())?;
            let next = next(dispatches, moved)?;
            retime(changes, dispatches, verification, &next, now);
            Some(next.id)
        }
        DispatchStatus::Sent => {
            let next = next(dispatches, moved)?;
            let at = out_since(moved)? + next.fallback?.after;
            retime(changes, dispatches, verification?, &next, at);
            None
        }
        _ => None,
    }
}

/// Why no provider is asked for a dispatch any more, if so: its chain has arrived, or has gone on without it.
pub(super) fn overtaken(dispatches: &Dispatches, of: &Dispatch) -> Option<&'static str> {
    let first = of.fallback.map_or(of.id.n, |fallback| fallback.first);
    let mut before = (first..of.id.n).filter_map(|n| dispatches.get(&DispatchId { n, ..of.id }));
    if before.any(|one| one.status == DispatchStatus::Delivered) {
        return Some(ALREADY_DELIVERED);
    }
    later(dispatches, of).iter().any(Dispatch::has_fired).then_some(REPLACED)
}

/// The one that waits right behind a dispatch.
pub(super) fn next(dispatches: &Dispatches, of: &Dispatch) -> Option<Dispatch> {
    behind(dispatches, of).into_iter().find(|waiting| waiting.id.n == of.id.n + 1)
}

/// Those that wait behind a dispatch in its chain, in order.
pub(super) fn behind(dispatches: &Dispatches, of: &Dispatch) -> Vec<Dispatch> {
    later(dispatches, of).into_iter().filter(|later| later.status == DispatchStatus::Waiting).collect()
}

/// The rest of its chain after a dispatch, in order.
fn later(dispatches: &Dispatches, of: &Dispatch) -> Vec<Dispatch> {
    let numbers = of.id.n + 1..=of.id.n + REACH;
    let later = numbers.filter_map(|n| dispatches.get(&DispatchId { n, ..of.id }));
    let is_of_chain = |later: &&Dispatch| later.fallback.is_some_and(|fallback| fallback.first <= of.id.n);
    later.filter(is_of_chain).cloned().collect()
}

/// Sets the time of one that waits, and of those behind it in its wake.
pub(super) fn retime(
    changes: &mut Changes,
    dispatches: &mut Dispatches,
    verification: &Verification,
    first: &Dispatch,
    mut at: Timestamp,
) {
    for waiting in std::iter::once(first.clone()).chain(behind(dispatches, first)) {
        let Some(fallback) = waiting.fallback else { continue };
        if waiting.id != first.id {
            at = at + fallback.after;
        }
        let after = Dispatch { fallback: Some(Fallback { at, ..fallback }), ..waiting.clone() };
        changes.due.insert(after.id, due(&after, at, verification));
        changes.put_dispatch(&waiting, after.clone());
        dispatches.insert(after.id, after);
    }
}

/// Those whose code somebody may have got, in order.
#[must_use]
pub fn gone(dispatches: &[Dispatch]) -> Vec<&Dispatch> {
    dispatches.iter().filter(|dispatch| dispatch.may_have_arrived()).collect()
}

/// Whether a code was offered for the target of its verification and for no other: whoever knows it holds one of the
/// targets that it went to, and nobody can say which.
#[must_use]
pub fn went_to_target_alone(dispatches: &[Dispatch]) -> bool {
    dispatches.iter().all(|dispatch| dispatch.target.is_none() || !dispatch.was_offered())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(300);

    fn step(channel: Channel, after: u32) -> Step {
        Step { channel, after }
    }

    #[track_caller]
    fn check(steps: &[Step], expected: &[&str]) {
        assert_eq!(problems(steps, LIFE).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_default_is_to_the_same_phone_in_time_and_by_each_channel_once() {
        use Channel::{Email, Sms, Whatsapp};
        check(&[], &[]);
        check(&[step(Sms, 5), step(Whatsapp, 274)], &[]);
        check(
            &[step(Sms, 5), step(Whatsapp, 275)],
            &["fallback: whatsapp would go out when a code is of no use any more (see ttl)"],
        );
        check(&[step(Sms, 4)], &["fallback: sms must come 5 to 300 seconds after, not 4"]);
        check(&[step(Sms, 301)], &["fallback: sms must come 5 to 300 seconds after, not 301"]);
        check(&[step(Sms, 20), step(Sms, 20)], &["fallback: sms is there twice"]);
        check(&[step(Email, 20)], &["fallback: email needs another target than a phone has: ask for it in the send"]);
        assert_eq!(problems(&[step(Sms, 20); 4], LIFE).count(), 4, "too many, and thrice the same");
    }

    #[test]
    fn a_fallback_is_in_time_until_the_code_is_of_no_use() {
        for (life, last) in [(300, 279), (600, 579), (20, 14), (10, 7)] {
            let is_in_time = |after| is_in_time(Duration::from_secs(after), Duration::from_secs(life));
            assert!(is_in_time(last) && !is_in_time(last + 1), "of {life} s");
        }
    }

    #[test]
    fn stored_numbers_read_back() {
        for fired in Fired::ALL {
            assert_eq!(Fired::from_code(fired.code()), Some(fired));
        }
        assert_eq!(Fired::from_code(4), None);
    }

    #[test]
    fn the_reach_of_a_chain_is_its_longest() {
        assert_eq!(usize::try_from(REACH), Ok(MOST));
    }
}
