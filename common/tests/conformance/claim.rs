//! Claims: an attempt is one worker's alone.

use common::otp::channel::Mode;
use common::otp::claim::{Claim, Unclaimed};
use common::otp::ids::{DispatchId, VerificationId};
use common::otp::rows::Charge;
use common::otp::status::DispatchStatus;
use futures_util::future::join_all;

use crate::world::{ANN, BOB, CODE, LEASE, T0, World, at, attempt};

crate::scenarios! {
    a_claim_holds_the_attempt_for_its_lease,
    the_same_attempt_is_claimed_once_in_a_batch,
    the_same_attempt_is_claimed_once_by_concurrent_workers,
    only_the_next_attempt_can_be_claimed,
    nothing_is_claimed_of_a_closed_verification,
    nothing_is_claimed_after_the_deadline,
}

async fn a_claim_holds_the_attempt_for_its_lease(world: World) {
    let id = world.send(T0, ANN).await;
    let claimed = world.claim(at(1), id, 1).await.expect("claimed");
    assert_eq!(claimed.attempt(), attempt(id, 1));
    assert_eq!(claimed.verification, world.verification(id.verification).await);
    let dispatch = world.dispatch(id).await;
    assert_eq!(claimed.dispatch, dispatch);
    assert_eq!((dispatch.status, dispatch.attempt), (DispatchStatus::Sending, 1));
    assert_eq!((dispatch.lease, dispatch.first_attempt), (Some(at(1) + LEASE), Some(at(1))));
}

async fn the_same_attempt_is_claimed_once_in_a_batch(world: World) {
    let (ann, bob) = (world.send(T0, ANN).await, world.send(T0, BOB).await);
    let claims = [ann, bob, ann].map(|id| Claim { attempt: attempt(id, 1), lease: LEASE });
    let answers = world.store.claim(T0, &claims).await.expect("answers");
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert_eq!(answers[2].as_ref().err(), Some(&Unclaimed::Taken));
}

async fn the_same_attempt_is_claimed_once_by_concurrent_workers(world: World) {
    let id = world.send(T0, ANN).await;
    let answers = join_all((0..16).map(|_| world.claim(T0, id, 1))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(world.dispatch(id).await.attempt, 1);
}

async fn only_the_next_attempt_can_be_claimed(world: World) {
    let id = world.send(T0, ANN).await;
    assert_eq!(world.claim(T0, id, 2).await.err(), Some(Unclaimed::Taken));
    world.claimed(T0, id, 1).await;
    assert_eq!(world.claim(T0, id, 2).await.err(), Some(Unclaimed::Taken), "the first is held");
    let unknown = DispatchId { verification: VerificationId::new(T0), n: 1 };
    assert_eq!(world.claim(T0, unknown, 1).await.err(), Some(Unclaimed::Unknown));
}

async fn nothing_is_claimed_of_a_closed_verification(world: World) {
    let (ann, bob) = (world.send(T0, ANN).await, world.send(T0, BOB).await);
    world.verify_one(T0, world.guess(ANN, CODE)).await;
    world.store.cancel(T0, world.id(), Mode::Live.visible(), Some(bob.verification), "").await.expect("canceled");
    for (id, reason) in [(ann, "verified"), (bob, "canceled")] {
        assert_eq!(world.claim(T0, id, 1).await.err(), Some(Unclaimed::Taken));
        let ended = world.dispatch(id).await;
        assert_eq!((ended.status, ended.reason.as_deref()), (DispatchStatus::Expired, Some(reason)));
    }
    assert_eq!((world.tokens_used().await, world.due().await.len()), (0, 0));
}

async fn nothing_is_claimed_after_the_deadline(world: World) {
    let id = world.send(T0, ANN).await;
    assert_eq!(world.claim(at(280), id, 1).await.err(), Some(Unclaimed::Over));
    let ended = world.dispatch(id).await;
    assert_eq!((ended.status, ended.reason.as_deref()), (DispatchStatus::Expired, Some("expired")));
    assert_eq!((ended.charge, world.tokens_used().await), (Charge::Returned, 0));
    assert!(world.due().await.is_empty());
}
