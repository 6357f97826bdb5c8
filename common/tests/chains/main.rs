//! Chains under any order of events: whatever happens to one verification, its books are right and nothing goes out that
//! must not.

mod rows;

use std::time::Duration;

use common::otp::claim::{Claimed, Unclaimed};
use common::otp::finish::Next;
use common::otp::ids::DispatchId;
use common::otp::provider_error::Cause;
use common::otp::rows::{Charge, State};
use common::otp::status::{DispatchStatus, ReceiptStatus};
use proptest::prelude::*;

use rows::{LEASE, Rows};

/// What may happen next; numbers choose among the dispatches that there are.
#[derive(Debug, Clone, Copy)]
enum Event {
    Wait(u16),
    Relay,
    Claim(u8),
    Finish(u8, Outcome),
    Receipt(u8, ReceiptStatus),
    Fire(u8, bool),
    SendAgain(u8),
    Guess(bool),
    Cancel,
    Retry(u8),
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Taken,
    Arrived,
    Rejected,
    Unavailable,
    Elsewhere,
    NoAnswer,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let outcome = prop_oneof![
        Just(Outcome::Taken),
        Just(Outcome::Arrived),
        Just(Outcome::Rejected),
        Just(Outcome::Unavailable),
        Just(Outcome::Elsewhere),
        Just(Outcome::NoAnswer),
    ];
    let receipt =
        prop_oneof![Just(ReceiptStatus::Sent), Just(ReceiptStatus::Delivered), Just(ReceiptStatus::Undelivered)];
    let one = prop_oneof![
        6 => (0_u16..30).prop_map(Event::Wait),
        4 => Just(Event::Relay),
        4 => any::<u8>().prop_map(Event::Claim),
        6 => (any::<u8>(), outcome).prop_map(|(n, outcome)| Event::Finish(n, outcome)),
        3 => (any::<u8>(), receipt).prop_map(|(n, status)| Event::Receipt(n, status)),
        8 => (any::<u8>(), any::<bool>()).prop_map(|(n, limited)| Event::Fire(n, limited)),
        1 => (0_u8..4).prop_map(Event::SendAgain),
        1 => prop_oneof![4 => Just(false), 1 => Just(true)].prop_map(Event::Guess),
        1 => Just(Event::Cancel),
        1 => any::<u8>().prop_map(Event::Retry),
    ];
    proptest::collection::vec(one, 1..80)
}

fn happen(rows: &mut Rows, event: Event) {
    match event {
        Event::Wait(seconds) => rows.now = rows.now + Duration::from_secs(seconds.into()),
        Event::Relay => rows.relay(),
        Event::Claim(n) => {
            let claimed = rows.claim(n).ok().map(|claimed| claimed.dispatch.id);
            check_claim(rows, claimed);
        }
        Event::Finish(n, outcome) => {
            let give_up = Next::GiveUp { status: DispatchStatus::Failed, reason: "no".to_owned() };
            let again = Next::Retry { at: rows.now + Duration::from_secs(8) };
            let elsewhere = Next::Failover { lease: LEASE };
            let claimed = match outcome {
                Outcome::Taken => rows.finish(n, Ok(false), Next::Done),
                Outcome::Arrived => rows.finish(n, Ok(true), Next::Done),
                Outcome::Rejected => rows.finish(n, Err(Cause::Rejected), give_up),
                Outcome::Unavailable => rows.finish(n, Err(Cause::Unavailable), again),
                Outcome::Elsewhere => rows.finish(n, Err(Cause::Unavailable), elsewhere),
                Outcome::NoAnswer => rows.finish(n, Err(Cause::Ambiguous), again),
            };
            check_claim(rows, claimed);
        }
        Event::Receipt(n, status) => rows.receive(n, status),
        Event::Fire(n, limited) => fire(rows, n, limited),
        Event::SendAgain(fallbacks) => rows.send(fallbacks),
        Event::Guess(right) => rows.guess(right),
        Event::Cancel => rows.cancel(),
        Event::Retry(n) => rows.retry(n),
    }
}

/// Whether it was right that an attempt which fires nothing was claimed.
fn check_claim(rows: &Rows, claimed: Option<DispatchId>) {
    let Some(id) = claimed else { return };
    let of = rows.dispatches().find(|one| one.id == id).expect("what was claimed");
    let first = of.fallback.map_or(id.n, |fallback| fallback.first);
    for one in rows.dispatches() {
        let is_earlier = (first..id.n).contains(&one.id.n);
        assert!(!is_earlier || one.status != DispatchStatus::Delivered, "it has arrived: {one:?}");
        let is_later = one.id.n > id.n && one.fallback.is_some_and(|fallback| fallback.first <= id.n);
        assert!(!is_later || !one.has_fired(), "its chain has gone on without it: {one:?}");
    }
}

/// Fires, and looks at whether it was right to.
fn fire(rows: &mut Rows, n: u8, limited: bool) {
    let Some((before, answer)) = rows.fire(n, limited) else { return };
    let Ok(Claimed { dispatch, .. }) = answer else {
        assert!(matches!(answer, Err(Unclaimed::Taken | Unclaimed::Over | Unclaimed::Waiting)));
        return;
    };
    let verification = rows.verification();
    assert_eq!(before.status, DispatchStatus::Waiting, "nothing fires twice");
    assert_eq!(verification.state, State::Open, "a closed verification never fires");
    assert!(!verification.is_locked() && rows.now < verification.deadline(), "and no dead code goes out");
    let fallback = before.fallback.expect("only fallbacks fire");
    let chain: Vec<_> = rows.dispatches().filter(|one| (fallback.first..before.id.n).contains(&one.id.n)).collect();
    assert!(chain.iter().all(|one| one.status != DispatchStatus::Delivered), "what has arrived needs none");
    assert!(chain.iter().all(|one| one.status != DispatchStatus::Waiting), "each in its turn");
    let last = chain.iter().max_by_key(|one| one.id.n).expect("one before");
    let is_over = matches!(last.status, DispatchStatus::Failed | DispatchStatus::Expired | DispatchStatus::Undelivered);
    let is_up = |since| rows.now >= since + fallback.after;
    assert!(is_over || last.sent.or(last.first_attempt).is_some_and(is_up), "it is given its time");
    assert!(dispatch.newest && dispatch.charge == Charge::Reserved && dispatch.has_fired());
}

fn check_books(rows: &Rows) {
    let charged = rows.dispatches().filter(|one| matches!(one.charge, Charge::Reserved | Charge::Settled)).count();
    assert_eq!(
        rows.tokens_used(),
        i64::try_from(charged).expect("few"),
        "a token for each that is handed over or may be"
    );
    for one in rows.dispatches() {
        if matches!(one.charge, Charge::Settled | Charge::Reserved) {
            assert!(one.has_fired(), "none for what waits or was not needed: {one:?}");
        }
        let is_ended = matches!(one.status, DispatchStatus::Failed | DispatchStatus::Expired);
        assert!(!is_ended || one.charge != Charge::Reserved, "none is kept by what has ended: {one:?}");
        assert_eq!(one.status.is_pending(), rows.due(one.id), "due while there is work, and not after: {one:?}");
    }
    let newest: Vec<_> = rows.dispatches().filter(|one| one.newest).collect();
    assert_eq!(newest.len(), 1);
    assert!(newest[0].has_fired());
    assert_eq!(rows.counted(), [(newest[0].status.as_str().to_owned(), 1)], "the newest counts alone");
    let is_open = rows.verification().state == State::Open && !rows.verification().is_locked();
    let waits = |one: &&common::otp::rows::Dispatch| one.status == DispatchStatus::Waiting;
    assert!(is_open || !rows.dispatches().any(|one| waits(&one)), "nothing waits behind what has closed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_right_whatever_happens(fallbacks in 0_u8..4, tokens in 1_i64..6, events in events()) {
        let mut rows = Rows::new(tokens);
        rows.send(fallbacks);
        check_books(&rows);
        for event in events {
            happen(&mut rows, event);
            check_books(&rows);
        }
    }

    /// Left to itself, everything ends, and nothing is due any more.
    #[test]
    fn everything_ends(fallbacks in 0_u8..4, events in events()) {
        let mut rows = Rows::new(100);
        rows.send(fallbacks);
        for event in events {
            happen(&mut rows, event);
        }
        for _ in 0..40 {
            rows.now = rows.now + Duration::from_secs(20);
            rows.relay();
        }
        check_books(&rows);
        prop_assert!(rows.dispatches().all(|one| !one.status.is_pending()));
    }
}
