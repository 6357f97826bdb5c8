//! Codes of callers' own, checked here or elsewhere, and sends that want a session.

use common::otp::accept::Accept;
use common::otp::changes::Dimension;
use common::otp::channel::Mode;
use common::otp::code::Code;
use common::otp::guess::{Guess, Reason, Verdict};
use common::otp::rows::{CarriedGuesses, State};
use common::otp::status::{DispatchStatus, ReceiptStatus};
use common::otp::time::Timestamp;
use common::store::records::{Page, RecordFilter};

use crate::world::{ANN, CODE, T0, World, at, receipt, taken};

crate::scenarios! {
    a_code_of_the_callers_own_always_supersedes,
    a_relayed_code_is_sent_and_takes_no_guess,
    a_relayed_code_supersedes_the_one_before_it,
    a_relayed_code_counts_apart,
    a_send_that_wants_a_session_supersedes_one_that_did_not,
    a_send_without_a_session_joins_one_that_wants_it,
}

const DOOR: &str = "door:hook";

fn own(world: &World, now: Timestamp, code: &str) -> Accept {
    let mut request = world.request(now, ANN).0;
    let (id, code) = (request.candidate.id, Code::parse(code).expect("a code"));
    request.candidate.own_code = true;
    request.candidate.code_hash = world.keys.code_hash(world.id(), id, &code);
    request.candidate.code = Some(world.keys.seal_code(id, &code).expect("sealed"));
    request
}

fn relayed(world: &World, now: Timestamp) -> Accept {
    let mut request = own(world, now, "000777");
    request.candidate.budget = 0;
    DOOR.clone_into(&mut request.candidate.record);
    request
}

async fn a_code_of_the_callers_own_always_supersedes(world: World) {
    let first = world.send(T0, ANN).await;
    world.guess_wrong(at(1), ANN, 2).await;
    let second = world.accept_one(at(2), own(&world, at(2), "4711")).await.expect("accepted").dispatch;
    let third = world.accept_one(at(3), own(&world, at(3), "4711")).await.expect("accepted").dispatch;
    assert_eq!((second.n, third.n), (1, 1));
    for old in [first, second] {
        assert_eq!(world.verification(old.verification).await.state, State::Superseded);
        assert_eq!(world.dispatch(old).await.reason.as_deref(), Some("superseded"));
    }
    let carried = world.verification(third.verification).await.carried;
    assert_eq!(carried, Some(CarriedGuesses { left: 3, until: at(302) }));
    let verdict = world.verify_one(at(4), world.guess(ANN, "4711")).await;
    assert!(matches!(verdict, Verdict::Verified { .. }), "{verdict:?}");
}

async fn a_relayed_code_is_sent_and_takes_no_guess(world: World) {
    let id = world.accept_one(T0, relayed(&world, T0)).await.expect("accepted").dispatch;
    let by_door = Guess { record: Some(DOOR.to_owned()), ..world.guess(ANN, "000777") };
    let answer = world.verify_one(at(1), by_door).await;
    assert_eq!(answer, Verdict::Refused { verification: Some(id.verification), reason: Reason::TooMany });
    let held = world.claimed(at(1), id, 1).await;
    let claimed = world.dispatch(id).await;
    assert_eq!(claimed.status, DispatchStatus::Sending);
    world.finish(at(1), taken(at(1), held, "m1")).await;
    world.receive(receipt(at(2), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Delivered);
    assert_eq!(world.verification(id.verification).await.guesses, 0);
}

async fn a_relayed_code_supersedes_the_one_before_it(world: World) {
    let first = world.accept_one(T0, relayed(&world, T0)).await.expect("accepted").dispatch;
    let second = world.accept_one(at(1), relayed(&world, at(1))).await.expect("accepted").dispatch;
    assert_eq!(world.verification(first.verification).await.state, State::Superseded);
    assert_eq!(world.dispatch(first).await.status, DispatchStatus::Expired);
    let now = world.verification(second.verification).await;
    assert_eq!((now.state, now.carried), (State::Open, None));
    assert_eq!(world.due().await.len(), 1);
}

async fn a_relayed_code_counts_apart(world: World) {
    world.accept_one(T0, relayed(&world, T0)).await.expect("accepted");
    assert_eq!(world.counted(Dimension::Relayed, "sms").await, 1);
    assert_eq!(world.counted(Dimension::Total, "").await, 0);
    assert_eq!(world.counted(Dimension::Status, "queued").await, 1);
    world.send(T0, ANN).await;
    let page = Page { before: None, offset: 0, limit: 10 };
    for (verified, count) in [(None, 2), (Some(false), 1), (Some(true), 0)] {
        let filter = RecordFilter { verified, modes: Mode::Live.visible(), ..world.filter() };
        assert_eq!(world.store.list_records(&filter, page).await.expect("records").len(), count, "{verified:?}");
    }
}

async fn a_send_that_wants_a_session_supersedes_one_that_did_not(world: World) {
    let first = world.send(T0, ANN).await;
    let mut wants = world.request(at(30), ANN).0;
    wants.candidate.session = true;
    let second = world.accept_one(at(30), wants).await.expect("accepted").dispatch;
    assert_ne!(first.verification, second.verification);
    assert!(world.verification(second.verification).await.session);
}

async fn a_send_without_a_session_joins_one_that_wants_it(world: World) {
    let mut wants = world.request(T0, ANN).0;
    wants.candidate.session = true;
    let first = world.accept_one(T0, wants).await.expect("accepted").dispatch;
    let second = world.send(at(30), ANN).await;
    assert_eq!((second.verification, second.n), (first.verification, 2));
    let verdict = world.verify_one(at(40), world.guess(ANN, CODE)).await;
    assert!(matches!(verdict, Verdict::Verified { verification, .. } if verification.session));
}
