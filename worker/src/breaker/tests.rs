//! What opens a breaker, what ends that, and what a check has to say.

use common::otp::channel::Channel;

use super::*;

const T0: Timestamp = Timestamp::from_ms(1_000_000);

fn uz() -> Place {
    Place::new(Channel::Sms, "UZ")
}

fn us() -> Place {
    Place::new(Channel::Sms, "US")
}

fn at(seconds: u64) -> Timestamp {
    T0 + Duration::from_secs(seconds)
}

fn failing(times: usize) -> Breaker {
    let breaker = Breaker::default();
    for _ in 0..times {
        breaker.record(T0, T0, &uz(), Some(&Cause::Unavailable));
    }
    breaker
}

#[test]
fn a_misconfiguration_opens_at_once() {
    let breaker = Breaker::default();
    breaker.record(T0, T0, &uz(), Some(&Cause::Misconfigured(Misconfiguration::Credentials)));
    assert_eq!(breaker.position(at(59)), Position::Open);
    assert_eq!(breaker.position(at(60)), Position::HalfOpen);
}

#[test]
fn a_sender_refused_for_one_destination_does_not_close_the_others() {
    let breaker = Breaker::default();
    breaker.record(T0, T0, &uz(), Some(&Cause::Misconfigured(Misconfiguration::Sender)));
    assert_eq!(breaker.position(T0), Position::Closed);
}

#[test]
fn a_few_failures_do_not_open_and_many_do() {
    assert_eq!(failing(FEWEST - 1).position(T0), Position::Closed);
    assert_eq!(failing(FEWEST).position(T0), Position::Open);
}

#[test]
fn half_open_lets_one_probe_through_and_a_success_closes() {
    let breaker = failing(FEWEST);
    assert!(!breaker.enter(at(9)));
    assert!(breaker.enter(at(10)));
    assert!(!breaker.enter(at(10)));
    breaker.record(at(11), at(11), &uz(), None);
    assert_eq!(breaker.position(at(11)), Position::Closed);
    assert!(breaker.enter(at(11)) && breaker.enter(at(11)));
}

#[test]
fn a_failed_probe_opens_again() {
    let breaker = failing(FEWEST);
    assert!(breaker.enter(at(10)));
    breaker.record(at(11), at(11), &uz(), Some(&Cause::Unavailable));
    assert_eq!(breaker.position(at(20)), Position::Open);
}

#[test]
fn a_probe_that_was_not_made_is_free_for_the_next() {
    let breaker = failing(FEWEST);
    assert!(breaker.enter(at(10)));
    breaker.leave();
    assert!(breaker.enter(at(10)));
}

#[test]
fn a_probe_that_never_reports_does_not_block_for_ever() {
    let breaker = failing(FEWEST);
    assert!(breaker.enter(at(10)));
    assert!(breaker.enter(at(25)));
}

#[test]
fn a_check_that_accuses_opens_and_one_that_absolves_closes() {
    let breaker = Breaker::default();
    breaker.accuse(T0, true);
    assert_eq!(breaker.position(at(3600)), Position::Open, "checks are the probes, not messages");
    assert_eq!(breaker.left_alone(at(3600)), Some("its check"));
    breaker.absolve(at(3600), true);
    assert_eq!(breaker.position(at(3600)), Position::Closed);
    assert!(breaker.enter(at(3600)) && breaker.enter(at(3600)));
}

#[test]
fn the_accused_is_the_last_resort_for_one_message_at_a_time() {
    let breaker = Breaker::default();
    assert!(!breaker.is_last_resort(T0), "it is fit");
    breaker.accuse(T0, true);
    assert!(breaker.is_last_resort(T0) && breaker.enter(T0));
    assert!(!breaker.is_last_resort(T0) && !breaker.enter(T0));
    breaker.record(T0, T0, &uz(), Some(&Cause::Misconfigured(Misconfiguration::Balance)));
    assert!(!breaker.is_last_resort(at(59)), "a message has proved it");
    assert!(breaker.is_last_resort(at(60)) && breaker.left_alone(at(60)).is_some());
}

#[test]
fn a_message_that_is_taken_outweighs_a_check_until_it_says_something_else() {
    let breaker = Breaker::default();
    breaker.accuse(at(1), true);
    breaker.taken(T0);
    assert_eq!(breaker.position(at(2)), Position::Open, "it was on its way before");
    breaker.taken(at(1));
    assert_eq!(breaker.position(at(2)), Position::Closed);
    breaker.accuse(at(3), false);
    assert_eq!(breaker.position(at(3)), Position::Closed);
    breaker.accuse(at(4), true);
    assert_eq!(breaker.position(at(4)), Position::Open);
}

#[test]
fn what_is_mended_is_tried_at_once_but_no_outage_is_shortened() {
    let breaker = Breaker::default();
    breaker.record(T0, T0, &uz(), Some(&Cause::Misconfigured(Misconfiguration::Credentials)));
    breaker.absolve(at(1), false);
    assert_eq!(breaker.position(at(1)), Position::Open, "a check that always said so knows no better");
    breaker.absolve(at(2), true);
    assert_eq!(breaker.position(at(2)), Position::HalfOpen);

    let breaker = failing(FEWEST);
    breaker.absolve(at(1), true);
    assert_eq!(breaker.position(at(1)), Position::Open);
}

#[test]
fn rejected_recipients_say_nothing_about_the_provider() {
    let breaker = Breaker::default();
    for _ in 0..50 {
        breaker.record(T0, T0, &uz(), Some(&Cause::Rejected));
    }
    assert_eq!(breaker.position(T0), Position::Closed);
}

#[test]
fn the_failures_of_one_country_among_several_are_its_own_affair() {
    let breaker = failing(FEWEST - 1);
    breaker.record(T0, T0, &us(), None);
    breaker.record(T0, T0, &uz(), Some(&Cause::Unavailable));
    assert_eq!(breaker.position(T0), Position::Closed);
    for _ in 0..2 {
        breaker.record(T0, T0, &us(), None);
    }
    breaker.record(T0, T0, &us(), Some(&Cause::Unavailable));
    assert_eq!(breaker.position(T0), Position::Closed, "one stray failure elsewhere");
    for _ in 0..2 {
        breaker.record(T0, T0, &us(), Some(&Cause::Unavailable));
    }
    assert_eq!(breaker.position(T0), Position::Open, "it fails everywhere");
}

#[test]
fn what_was_on_its_way_before_shortens_nothing() {
    let throttled = |seconds| Cause::Throttled { retry_after: Some(Duration::from_secs(seconds)) };
    let late = [None, Some(Cause::Ambiguous), Some(throttled(1)), Some(Cause::Throttled { retry_after: None })];
    for cause in late {
        let breaker = Breaker::default();
        breaker.record(T0, T0, &uz(), Some(&throttled(30)));
        breaker.record(T0, at(1), &uz(), cause.as_ref());
        assert_eq!(breaker.left_alone(at(29)), Some("throttled"), "{cause:?}");
        assert_eq!(breaker.left_alone(at(30)), None, "{cause:?}");
    }
}

#[test]
fn a_pause_for_all_ends_although_one_country_fails() {
    let breaker = Breaker::default();
    breaker.record(T0, T0, &uz(), Some(&Cause::Throttled { retry_after: None }));
    assert!(breaker.enter(at(1)));
    breaker.record(at(1), at(1), &uz(), Some(&Cause::Misconfigured(Misconfiguration::Sender)));
    assert_eq!(breaker.position(at(1)), Position::Closed);
}

#[test]
fn throttling_pauses_for_the_time_asked() {
    let breaker = Breaker::default();
    breaker.record(T0, T0, &uz(), Some(&Cause::Throttled { retry_after: Some(Duration::from_secs(7)) }));
    assert_eq!(breaker.left_alone(at(6)), Some("throttled"));
    assert_eq!(breaker.left_alone(at(7)), None);
}
