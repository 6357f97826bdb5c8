//! Chains that have moved on: once a fallback has gone out, or the code has arrived, no provider is asked for the others.

use std::time::Duration;

use common::otp::chain::Fired;
use common::otp::channel::Channel;
use common::otp::claim::Unclaimed;
use common::otp::finish::{Finished, Next};
use common::otp::ids::{AttemptId, DispatchId};
use common::otp::provider_error::Cause;
use common::otp::retry::NotRetried;
use common::otp::rows::Charge;
use common::otp::status::{AttemptStatus, DispatchStatus, ReceiptStatus};

use crate::chain::{after, fire, planned, request, sent};
use crate::world::{LEASE, T0, World, at, attempt, failed, receipt, taken};

crate::scenarios! {
    what_a_worker_holds_ends_with_the_attempt_it_makes,
    what_is_given_up_says_why,
    what_a_provider_takes_after_its_fallback_went_out_counts,
    what_an_abandoned_worker_held_is_not_brought_again,
    an_ended_lease_is_no_lease,
    what_arrives_ends_a_fallback_between_two_attempts,
    what_arrives_ends_a_fallback_that_a_worker_holds,
    what_arrives_ends_a_fallback_whose_worker_is_gone,
    what_is_replaced_is_not_retried_by_hand,
}

async fn ended(world: &World, id: DispatchId) -> (DispatchStatus, Option<String>, Charge) {
    let dispatch = world.dispatch(id).await;
    assert!(world.due().await.iter().all(|due| due.dispatch != id), "nothing of it is due");
    (dispatch.status, dispatch.reason, dispatch.charge)
}

fn expired(reason: &str) -> (DispatchStatus, Option<String>, Charge) {
    (DispatchStatus::Expired, Some(reason.to_owned()), Charge::Returned)
}

const REPLACED: &str = "replaced by its fallback";
const ARRIVED: &str = "already delivered";

/// A chain whose first dispatch a worker holds when its fallback goes out, 5 s after it was tried.
async fn overtaken(world: &World, record: &str) -> (AttemptId, AttemptId) {
    let mut request = request(world, T0);
    record.clone_into(&mut request.candidate.record);
    request.fallbacks[0].after = Duration::from_secs(5);
    let first = world.accept_one(T0, request).await.expect("accepted").dispatch;
    let held = world.claimed(T0, first, 1).await;
    (held, fire(world, at(5), after(first, 1)).await.expect("its turn").attempt())
}

async fn what_a_worker_holds_ends_with_the_attempt_it_makes(world: World) {
    let nexts = [Next::Failover { lease: LEASE }, Next::Retry { at: at(8) }, Next::HandBack { at: at(8) }];
    for (n, next) in nexts.into_iter().enumerate() {
        let (held, _) = overtaken(&world, &n.to_string()).await;
        let mut finish = failed(at(6), held, Cause::Unavailable, next.clone());
        if matches!(next, Next::HandBack { .. }) {
            finish.call = None;
        }
        let finished = world.finish(at(6), finish).await;
        assert!(matches!(finished, Finished::Current { next: None, fallback: None, .. }), "{finished:?}");
        assert_eq!(ended(&world, held.dispatch).await, expired(REPLACED), "{next:?}");
    }
    assert_eq!(world.tokens_used().await, 3, "for the fallbacks alone");
}

async fn what_is_given_up_says_why(world: World) {
    let (held, _) = overtaken(&world, "").await;
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "rejected".to_owned() };
    world.finish(at(6), failed(at(6), held, Cause::Rejected, next)).await;
    let why = (DispatchStatus::Failed, Some("rejected".to_owned()), Charge::Returned);
    assert_eq!(ended(&world, held.dispatch).await, why);
}

async fn what_a_provider_takes_after_its_fallback_went_out_counts(world: World) {
    let (held, _) = overtaken(&world, "").await;
    world.finish(at(6), taken(at(6), held, "m1")).await;
    assert_eq!(ended(&world, held.dispatch).await, (DispatchStatus::Sent, None, Charge::Settled));
    assert_eq!(world.tokens_used().await, 2);
}

async fn what_an_abandoned_worker_held_is_not_brought_again(world: World) {
    let (held, second) = overtaken(&world, "").await;
    world.finish(at(6), taken(at(6), second, "m2")).await;
    assert_eq!(world.relay(T0 + LEASE, 10).await, []);
    assert_eq!(ended(&world, held.dispatch).await, expired(REPLACED));
    let first = world.dispatch(held.dispatch).await;
    assert!(first.may_have_arrived(), "nobody knows whether that attempt reached a provider");
    assert_eq!(world.tokens_used().await, 1);
}

/// A worker is gone, and no relay has looked yet when the fallback's time has come.
async fn an_ended_lease_is_no_lease(world: World) {
    let world = world.with_tokens(1).await;
    let first = world.accept_one(T0, request(&world, T0)).await.expect("accepted").dispatch;
    let held = world.claimed(T0, first, 1).await;
    let fired = fire(&world, at(20), after(first, 1)).await.expect("its turn, with the token of the first").dispatch;
    assert_eq!(fired.fallback.and_then(|fallback| fallback.fired), Some(Fired::NotDelivered));
    assert_eq!(ended(&world, first).await, expired(REPLACED));
    let attempts = world.timeline(first.verification).await.attempts;
    let shown: Vec<_> = attempts.iter().map(|one| (one.id, one.status, one.cause.as_deref())).collect();
    assert_eq!(shown, [(held, AttemptStatus::Failed, Some("ambiguous"))]);
    assert!(world.dispatch(first).await.may_have_arrived());
    // It reports after all: what it did is written and schedules nothing.
    let late = world.finish(at(21), failed(at(21), held, Cause::Unavailable, Next::Retry { at: at(22) })).await;
    assert!(matches!(late, Finished::Late), "{late:?}");
    assert_eq!(ended(&world, first).await, expired(REPLACED));
    assert_eq!(world.tokens_used().await, 1);
}

/// An SMS, and its fallback that went out and waits for another pass until 60 s; an e-mail waits behind.
async fn between_two(world: &World, message_id: &str) -> (DispatchId, DispatchId) {
    let (first, held) = on_the_wire(world, message_id).await;
    world.finish(at(21), failed(at(21), held, Cause::Unavailable, Next::Retry { at: at(40) })).await;
    (first, held.dispatch)
}

/// The same while its worker holds it.
async fn on_the_wire(world: &World, message_id: &str) -> (DispatchId, AttemptId) {
    let mut request = request(world, T0);
    request.fallbacks.push(planned(Channel::Email, 60));
    let first = sent(world, request, message_id).await;
    (first, fire(world, at(20), after(first, 1)).await.expect("its turn").attempt())
}

async fn what_arrives_ends_a_fallback_between_two_attempts(world: World) {
    let (first, second) = between_two(&world, "m1").await;
    assert_eq!(world.tokens_used().await, 2);
    world.receive(receipt(at(30), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!(ended(&world, second).await, expired(ARRIVED));
    assert_eq!(world.dispatch(after(first, 2)).await.reason.as_deref(), Some(ARRIVED));
    assert_eq!((world.relay(at(90), 10).await, world.tokens_used().await), (vec![], 1));
    assert_eq!(world.claim(at(40), second, 2).await.expect_err("over"), Unclaimed::Taken);
}

async fn what_arrives_ends_a_fallback_that_a_worker_holds(world: World) {
    let (_, held) = on_the_wire(&world, "m1").await;
    world.receive(receipt(at(21), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!(world.dispatch(held.dispatch).await.status, DispatchStatus::Sending, "it is left to its worker");
    world.finish(at(22), failed(at(22), held, Cause::Unavailable, Next::Retry { at: at(40) })).await;
    assert_eq!(ended(&world, held.dispatch).await, expired(ARRIVED));
    assert_eq!((world.relay(at(90), 10).await, world.tokens_used().await), (vec![], 1));
}

async fn what_arrives_ends_a_fallback_whose_worker_is_gone(world: World) {
    let (_, held) = on_the_wire(&world, "m1").await;
    world.receive(receipt(at(21), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!(world.relay(at(20) + LEASE, 10).await, []);
    assert_eq!(ended(&world, held.dispatch).await, expired(ARRIVED));
}

async fn what_is_replaced_is_not_retried_by_hand(world: World) {
    let (held, second) = overtaken(&world, "").await;
    let retry = async |id| world.store.retry(at(7), id).await.expect("an answer");
    assert_eq!(retry(held.dispatch).await, Err(NotRetried::Held));
    world.finish(at(6), failed(at(6), held, Cause::Unavailable, Next::Retry { at: at(8) })).await;
    assert_eq!(retry(held.dispatch).await, Err(NotRetried::Overtaken));
    world.finish(at(6), failed(at(6), second, Cause::Unavailable, Next::Retry { at: at(60) })).await;
    assert_eq!(retry(second.dispatch).await, Ok(()), "its last one may be");
    assert_eq!(
        world.claim(at(7), second.dispatch, 2).await.map(|claimed| claimed.attempt()),
        Ok(attempt(second.dispatch, 2))
    );
}
