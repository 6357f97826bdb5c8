//! What follows from an attempt: a pure function of its outcome, the dispatch's history and the clock.

use std::time::Duration;

use common::otp::finish::{Failure, Handed, Next};
use common::otp::provider_error::Cause;
use common::otp::relay::MOST_AMBIGUOUS;
use common::otp::rows::Dispatch;
use common::otp::schedule;
use common::otp::status::DispatchStatus;
use common::otp::time::Timestamp;

/// What is known when an attempt ends.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    pub dispatch: &'a Dispatch,
    pub now: Timestamp,
    /// After this, nothing of the verification is sent.
    pub deadline: Timestamp,
    /// Whether a provider that this pass has not asked is fit to be asked now.
    pub another_is_fit: bool,
    pub lease: Duration,
    /// In 0..=1, for the jitter.
    pub dice: f64,
}

/// The next step after an attempt.
#[must_use]
pub fn after_attempt(outcome: &Result<Handed, Failure>, at: Situation<'_>) -> Next {
    let Err(failure) = outcome else { return Next::Done };
    match failure.cause {
        Cause::Rejected => give_up(DispatchStatus::Failed, "rejected"),
        Cause::Ambiguous if at.dispatch.ambiguous + 1 >= MOST_AMBIGUOUS => give_up(DispatchStatus::Failed, "no answer"),
        _ if at.another_is_fit && at.now < at.deadline => Next::Failover { lease: at.lease },
        Cause::Throttled { retry_after } => next_pass(at, retry_after.unwrap_or_default(), failure.cause.as_str()),
        _ => next_pass(at, Duration::ZERO, failure.cause.as_str()),
    }
}

/// The next step when no provider was fit to be asked.
#[must_use]
pub fn without_provider(at: Situation<'_>) -> Next {
    next_pass(at, Duration::ZERO, "no provider is fit")
}

/// A new pass at its time in the schedule, not before `wait` is over and never past the useful life.
fn next_pass(at: Situation<'_>, wait: Duration, cause: &str) -> Next {
    let first = at.dispatch.first_attempt.unwrap_or(at.now);
    let scheduled = schedule::pass_at(first, at.dispatch.pass.saturating_add(1), at.dice);
    let next = scheduled.max(at.now + wait);
    if next >= at.deadline {
        return give_up(DispatchStatus::Expired, cause);
    }
    Next::Retry { at: next }
}

fn give_up(status: DispatchStatus, reason: &str) -> Next {
    Next::GiveUp { status, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::otp::channel::{Channel, Mode};
    use common::otp::ids::{DispatchId, VerificationId};
    use common::otp::provider_error::Misconfiguration;
    use common::otp::rows::Charge;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_ms(1_000_000);
    const LEASE: Duration = Duration::from_secs(15);

    fn dispatch(pass: i16, ambiguous: i16) -> Dispatch {
        Dispatch {
            id: DispatchId { verification: VerificationId::new(START), n: 1 },
            project: common::tenancy::new_project_id(),
            mode: Mode::Live,
            channel: Channel::Sms,
            target: None,
            newest: true,
            status: DispatchStatus::Sending,
            attempt: 1,
            lease: Some(START + LEASE),
            first_attempt: Some(START),
            pass,
            tried: Vec::new(),
            ambiguous,
            provider: None,
            reason: None,
            charge: Charge::Reserved,
            created: START,
            sent: None,
            delivered: None,
            fallback: None,
        }
    }

    fn decide(cause: Cause, pass: i16, ambiguous: i16, another_is_fit: bool, now_s: u64) -> Next {
        let failure = Failure { cause, detail: String::new() };
        let situation = Situation {
            dispatch: &dispatch(pass, ambiguous),
            now: START + Duration::from_secs(now_s),
            deadline: START + Duration::from_secs(280),
            another_is_fit,
            lease: LEASE,
            dice: 0.5,
        };
        after_attempt(&Err(failure), situation)
    }

    fn retry(seconds: u64) -> Next {
        Next::Retry { at: START + Duration::from_secs(seconds) }
    }

    #[test]
    fn a_rejected_recipient_is_not_tried_again() {
        let given_up = give_up(DispatchStatus::Failed, "rejected");
        assert_eq!(decide(Cause::Rejected, 0, 0, true, 0), given_up);
    }

    #[test]
    fn what_another_provider_can_mend_goes_to_it_at_once() {
        let causes = [
            Cause::Unavailable,
            Cause::Ambiguous,
            Cause::Throttled { retry_after: Some(Duration::from_secs(30)) },
            Cause::Misconfigured(Misconfiguration::Balance),
        ];
        for cause in causes {
            assert_eq!(decide(cause.clone(), 0, 0, true, 0), Next::Failover { lease: LEASE }, "{cause:?}");
        }
    }

    #[test]
    fn passes_follow_the_schedule_from_the_first_attempt() {
        for (pass, at) in [(0, 2), (1, 8), (2, 20), (3, 45), (4, 90), (5, 135)] {
            assert_eq!(decide(Cause::Unavailable, pass, 0, false, 1), retry(at), "pass {pass}");
        }
    }

    #[test]
    fn a_throttled_provider_is_given_the_time_it_asks_for() {
        let cause = Cause::Throttled { retry_after: Some(Duration::from_secs(30)) };
        assert_eq!(decide(cause, 0, 0, false, 1), retry(31));
    }

    #[test]
    fn a_second_unanswered_attempt_is_the_last() {
        assert_eq!(decide(Cause::Ambiguous, 0, 1, true, 0), give_up(DispatchStatus::Failed, "no answer"));
    }

    #[test]
    fn no_pass_begins_past_the_deadline() {
        assert_eq!(decide(Cause::Unavailable, 9, 0, false, 270), give_up(DispatchStatus::Expired, "unavailable"));
        assert_eq!(decide(Cause::Unavailable, 0, 0, true, 281), give_up(DispatchStatus::Expired, "unavailable"));
    }

    proptest! {
        #[test]
        fn retries_lie_between_now_and_the_deadline(
            pass in 0_i16..200, now_s in 0_u64..400, wait in 0_u64..400, dice in 0.0..=1.0_f64, fit: bool,
        ) {
            let cause = Cause::Throttled { retry_after: Some(Duration::from_secs(wait)) };
            let now = START + Duration::from_secs(now_s);
            let deadline = START + Duration::from_secs(280);
            let dispatch = dispatch(pass, 0);
            let at = Situation { dispatch: &dispatch, now, deadline, another_is_fit: fit, lease: LEASE, dice };
            match after_attempt(&Err(Failure { cause, detail: String::new() }), at) {
                Next::Retry { at } => prop_assert!(at >= now && at < deadline),
                Next::Failover { .. } => prop_assert!(fit && now < deadline),
                Next::GiveUp { status, .. } => prop_assert_eq!(status, DispatchStatus::Expired),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
