//! Cancelling: the code stops being good, and what has not been sent of it never is.

use common::otp::cancel::Closed;
use common::otp::changes::Dimension;
use common::otp::channel::Mode;
use common::otp::ids::VerificationId;
use common::otp::rows::State;
use common::otp::status::DispatchStatus;
use futures_util::future::join_all;

use crate::world::{ANN, BOB, CODE, T0, World, at};

crate::scenarios! {
    a_verification_is_canceled_by_its_id,
    the_newest_verification_of_a_record_is_canceled,
    what_a_worker_holds_is_left_to_it,
    a_closed_verification_says_how_it_ended,
    nothing_of_others_can_be_canceled,
    of_concurrent_cancels_one_cancels,
    an_approved_verification_counts_as_verified,
}

async fn cancel(world: &World, id: VerificationId) -> Option<Closed> {
    world.store.cancel(at(9), world.id(), Mode::Live.visible(), Some(id), "").await.expect("an answer")
}

async fn a_verification_is_canceled_by_its_id(world: World) {
    let id = world.send(T0, ANN).await;
    assert_eq!(cancel(&world, id.verification).await, Some(Closed::Now(id.verification)));
    let verification = world.verification(id.verification).await;
    assert_eq!((verification.state, verification.closed), (State::Canceled, Some(at(9))));
    assert_eq!(verification.code, None);
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.reason.as_deref()), (DispatchStatus::Expired, Some("canceled")));
    assert_eq!((world.tokens_used().await, world.due().await.len()), (0, 0));
}

async fn an_approved_verification_counts_as_verified(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let approve = async || world.store.approve(at(9), world.id(), Mode::Live.visible(), id).await.expect("an answer");
    assert_eq!(approve().await, Some(Closed::Now(id)));
    assert_eq!(approve().await, Some(Closed::Before(id, "verified")));
    assert_eq!(world.verification(id).await.state, State::Verified);
    assert_eq!(world.counted(Dimension::Verified, "sms").await, 1);
    let other = world.other_project().await;
    assert_eq!(other.store.approve(at(9), other.id(), Mode::Live.visible(), id).await.expect("an answer"), None);
}

async fn the_newest_verification_of_a_record_is_canceled(world: World) {
    for target in [ANN, BOB] {
        world.accept_one(T0, world.request(T0, target).record("order").0).await.expect("accepted");
    }
    let newest = world.accept_one(at(1), world.request(at(1), "c@example.com").record("order").0).await;
    let newest = newest.expect("accepted").dispatch.verification;
    let by_record = async |record: &str| {
        world.store.cancel(at(2), world.id(), Mode::Live.visible(), None, record).await.expect("an answer")
    };
    assert_eq!(by_record("order").await, Some(Closed::Now(newest)));
    assert_eq!(by_record("order").await, Some(Closed::Before(newest, "canceled")));
    assert_eq!(by_record("other").await, None);
    world.send(T0, "none@example.com").await;
    assert_eq!(by_record("").await, None, "an empty record is none");
}

async fn what_a_worker_holds_is_left_to_it(world: World) {
    let id = world.send(T0, ANN).await;
    world.claimed(T0, id, 1).await;
    assert_eq!(cancel(&world, id.verification).await, Some(Closed::Now(id.verification)));
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sending);
    assert_eq!(world.due().await.len(), 1);
}

async fn a_closed_verification_says_how_it_ended(world: World) {
    let id = world.send(T0, ANN).await.verification;
    world.verify_one(at(1), world.guess(ANN, CODE)).await;
    assert_eq!(cancel(&world, id).await, Some(Closed::Before(id, "verified")));
    let id = world.send(T0, BOB).await.verification;
    let late = world.store.cancel(at(300), world.id(), Mode::Live.visible(), Some(id), "").await;
    assert_eq!(late.expect("an answer"), Some(Closed::Before(id, "expired")));
}

async fn nothing_of_others_can_be_canceled(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let other = world.other_project().await;
    assert_eq!(cancel(&other, id).await, None);
    assert_eq!(cancel(&world, VerificationId::new(T0)).await, None);
    let by_sandbox = world.store.cancel(T0, world.id(), Mode::Sandbox.visible(), Some(id), "").await;
    assert_eq!(by_sandbox.expect("an answer"), None);
    let door = world.accept_one(T0, world.request(T0, BOB).record("door:web").0).await.expect("accepted").dispatch;
    assert_eq!(cancel(&world, door.verification).await, None);
    assert_eq!(world.verification(id).await.state, State::Open);
}

async fn of_concurrent_cancels_one_cancels(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let answers = join_all((0..8).map(|_| cancel(&world, id))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Some(Closed::Now(id))).count(), 1);
    assert_eq!(world.tokens_used().await, 0);
}
