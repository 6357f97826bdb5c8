//! Verifying: each guess is counted, compared and settled under the verification's row lock, in one transaction.

use std::collections::{BTreeSet, HashMap};

use super::changes::Changes;
use super::channel::Mode;
use super::close;
use super::code::Code;
use super::ids::{ProjectId, VerificationId};
use super::limits::Exhausted;
use super::rows::{Dispatch, Index, Indexes, Limit, LimitName, LimitTimes, OpenTarget, State, Verification};
use super::time::Timestamp;

/// Records whose id begins with this belong to a keyless door and are seen by no other.
pub const DOOR_PREFIX: &str = "door:";

#[derive(Debug, Clone)]
pub struct Guess {
    pub project: ProjectId,
    pub modes: &'static [Mode],
    pub target: Indexes,
    /// The caller's reference, as it stands in the request.
    pub record: Option<String>,
    /// The same where it may be the server's id, with the target's blind index under that day's key.
    pub by_id: Option<(VerificationId, Index)>,
    pub code: Code,
    /// On success, target and code are erased.
    pub erase: bool,
    /// Windows that compared wrong guesses use up, one each.
    pub limits: Vec<Limit>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// With all its dispatches, as they were.
    Verified {
        verification: Box<Verification>,
        dispatches: Vec<Dispatch>,
        at: Timestamp,
    },
    Wrong {
        verification: VerificationId,
        left: i16,
    },
    Refused {
        verification: Option<VerificationId>,
        reason: Reason,
    },
    Limited {
        by: LimitName,
        exhausted: Exhausted,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Expired,
    Used,
    TooMany,
    Canceled,
    NotFound,
}

/// What the rows say of a batch before anything is counted: pointers and limits as they were read, the others locked.
#[derive(Debug, Default)]
pub struct Found {
    pub open_targets: HashMap<Index, Vec<OpenTarget>>,
    pub verifications: HashMap<VerificationId, Verification>,
    pub limits: HashMap<Index, LimitTimes>,
    /// Of those that [`may_end`].
    pub dispatches: HashMap<VerificationId, Vec<Dispatch>>,
}

/// Which verification each guess is at, or its answer where it needs no look at one.
#[must_use]
pub fn choose(now: Timestamp, found: &Found, batch: &[Guess]) -> Vec<Result<VerificationId, Verdict>> {
    let mut wrong_at_most: HashMap<Index, u32> = HashMap::new();
    let one = |guess: &Guess| {
        let id = find(now, found, guess).ok_or(Verdict::Refused { verification: None, reason: Reason::NotFound })?;
        within_limits(now, found, guess, &mut wrong_at_most)?;
        Ok(id)
    };
    batch.iter().map(one).collect()
}

fn find(now: Timestamp, found: &Found, guess: &Guess) -> Option<VerificationId> {
    if let Some((id, tag)) = &guess.by_id
        && let Some(verification) = found.verifications.get(id)
        && verification.project == guess.project
        && guess.modes.contains(&verification.mode)
        && !verification.record.starts_with(DOOR_PREFIX)
    {
        return (verification.target_tag == *tag).then_some(*id);
    }
    let (target, record) = (&guess.target, guess.record.as_deref());
    let wanted = Wanted { project: guess.project, modes: guess.modes, target, record };
    let pointers = target.all().filter_map(|target| found.open_targets.get(&target)).flatten();
    newest(now, &wanted, pointers, &found.verifications)
}

/// Which verification a target stands for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub project: ProjectId,
    pub modes: &'a [Mode],
    pub target: &'a Indexes,
    /// Of this record id alone; `None` for any that is not a keyless door's.
    pub record: Option<&'a str>,
}

/// The newest open verification that is wanted, else the newest closed one.
#[must_use]
pub fn newest<'a>(
    now: Timestamp,
    wanted: &Wanted<'_>,
    open_targets: impl Iterator<Item = &'a OpenTarget>,
    verifications: &HashMap<VerificationId, Verification>,
) -> Option<VerificationId> {
    let matches = |row: &&OpenTarget| {
        row.key.project == wanted.project
            && wanted.modes.contains(&row.key.mode)
            && wanted.target.all().any(|target| target == row.key.target)
            && match wanted.record {
                Some(record) => row.key.record == *record,
                None => !row.key.record.starts_with(DOOR_PREFIX),
            }
    };
    let pointed = open_targets.filter(matches);
    let found = pointed.filter_map(|row| verifications.get(&row.verification));
    // A live key that names no server id means a live verification where there is one: an inbox code is no login.
    let rank =
        |verification: &&Verification| (verification.is_open(now), verification.mode == Mode::Live, verification.id);
    found.max_by_key(rank).map(|found| found.id)
}

/// Refuses a guess whose target or address has made too many wrong ones, each in the batch taken for a wrong one.
fn within_limits(
    now: Timestamp,
    found: &Found,
    guess: &Guess,
    wrong_at_most: &mut HashMap<Index, u32>,
) -> Result<(), Verdict> {
    for limit in &guess.limits {
        let Some(window) = limit.windows.first() else { continue };
        let stored = limit.key.all().filter_map(|key| found.limits.get(&key)).map(|times| times[0]).max();
        let before = *wrong_at_most.get(&limit.key.newest).unwrap_or(&0);
        let stored = window.after(stored.unwrap_or_default(), now, before);
        if let Err(exhausted) = window.take(stored, now) {
            return Err(Verdict::Limited { by: limit.name, exhausted });
        }
    }
    for limit in &guess.limits {
        *wrong_at_most.entry(limit.key.newest).or_default() += 1;
    }
    Ok(())
}

/// Which verifications may close or lock by these guesses, in order: the dispatches of the others are nobody's concern.
/// `matches` is [`decide`]'s.
pub fn may_end(
    verifications: &HashMap<VerificationId, Verification>,
    batch: &[Guess],
    chosen: &[Result<VerificationId, Verdict>],
    matches: impl Fn(&Verification, &Code) -> bool,
) -> Vec<VerificationId> {
    let mut guesses: HashMap<VerificationId, i16> = HashMap::new();
    let mut ending = BTreeSet::new();
    for (guess, id) in batch.iter().zip(chosen).filter_map(|(guess, id)| Some((guess, *id.as_ref().ok()?))) {
        let Some(verification) = verifications.get(&id) else { continue };
        let guesses = guesses.entry(id).or_insert(verification.guesses);
        *guesses = guesses.saturating_add(1);
        if *guesses >= verification.budget || matches(verification, &guess.code) {
            ending.insert(id);
        }
    }
    ending.into_iter().collect()
}

/// Compares in the order of arrival. `matches` compares keyed hashes in constant time.
pub fn decide(
    now: Timestamp,
    mut found: Found,
    batch: &[Guess],
    chosen: Vec<Result<VerificationId, Verdict>>,
    matches: impl Fn(&Verification, &Code) -> bool,
) -> (Vec<Verdict>, Changes) {
    let mut changes = Changes::at(now);
    let verdicts = batch.iter().zip(chosen).map(|(guess, chosen)| match chosen {
        Ok(id) => one(now, &mut found, &mut changes, guess, id, &matches),
        Err(verdict) => verdict,
    });
    (verdicts.collect(), changes)
}

fn one(
    now: Timestamp,
    found: &mut Found,
    changes: &mut Changes,
    guess: &Guess,
    id: VerificationId,
    matches: &impl Fn(&Verification, &Code) -> bool,
) -> Verdict {
    let Some(verification) = found.verifications.get_mut(&id) else {
        return Verdict::Refused { verification: None, reason: Reason::NotFound };
    };
    if let Some(reason) = closed(verification, now) {
        return Verdict::Refused { verification: Some(id), reason };
    }
    let dispatches = found.dispatches.get(&id).map_or(&[][..], Vec::as_slice);
    verification.guesses += 1;
    if matches(verification, &guess.code) {
        *verification = close::close(changes, verification, dispatches, State::Verified, "verified", now);
        changes.stats.verified(verification);
        if guess.erase {
            changes.erased.push(id);
        }
        let dispatches = dispatches.to_vec();
        return Verdict::Verified { verification: Box::new(verification.clone()), dispatches, at: now };
    }
    for limit in &guess.limits {
        if let Some(window) = limit.windows.first() {
            changes.limit_events.entry(limit.key.newest).or_insert((*window, 0)).1 += 1;
        }
    }
    let left = verification.guesses_left(now);
    if verification.is_locked() {
        close::lock(changes, verification, dispatches, now);
    } else {
        changes.put_verification(verification.clone());
    }
    Verdict::Wrong { verification: id, left }
}

/// Why a verification takes no guess any more, if so.
fn closed(verification: &Verification, now: Timestamp) -> Option<Reason> {
    match verification.state {
        State::Verified => Some(Reason::Used),
        State::Canceled => Some(Reason::Canceled),
        State::Superseded => Some(Reason::Expired),
        State::Open if now >= verification.expires => Some(Reason::Expired),
        State::Open if verification.guesses_left(now) == 0 => Some(Reason::TooMany),
        State::Open => None,
    }
}
