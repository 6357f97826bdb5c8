//! Finishes: what follows from what a provider said, and that a late word never makes things worse.

use common::otp::finish::{Call, Finish, Finished, Handed, Next};
use common::otp::ids::{AttemptId, DispatchId, VerificationId};
use common::otp::provider_error::Cause;
use common::otp::rows::{Charge, Due};
use common::otp::status::{AttemptStatus, DispatchStatus, ReceiptStatus};

use crate::world::{ANN, BOB, CODE, LEASE, T0, World, at, attempt, failed, receipt, taken};

crate::scenarios! {
    an_accepted_message_is_sent_and_its_token_spent,
    a_message_that_arrived_at_once_is_delivered,
    a_retry_is_due_at_its_time,
    a_failover_claims_the_next_attempt_at_once,
    no_failover_for_a_code_that_died_meanwhile,
    giving_up_refunds_once,
    a_job_handed_back_is_due_now,
    a_late_failure_neither_lowers_nor_schedules,
    a_late_success_raises_what_had_failed,
    a_repeated_finish_changes_nothing,
    a_finish_of_nothing_known_is_unknown,
    a_provider_may_give_one_message_id_twice,
    receipts_that_came_before_the_finish_join_it,
}

fn gives_up(attempt: AttemptId) -> Finish {
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "rejected".to_owned() };
    failed(T0, attempt, Cause::Rejected, next)
}

/// A dispatch whose first attempt was given up by the relay, and whose second is held.
async fn second_attempt(world: &World) -> DispatchId {
    let id = world.send(T0, ANN).await;
    world.claimed(T0, id, 1).await;
    assert_eq!(world.relay(at(16), 10).await[0].attempt, attempt(id, 2));
    world.claimed(at(16), id, 2).await;
    id
}

async fn an_accepted_message_is_sent_and_its_token_spent(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.charge), (DispatchStatus::Sent, Charge::Settled));
    assert_eq!((dispatch.provider.as_deref(), dispatch.sent, dispatch.lease), (Some("acme"), Some(T0), None));
    let attempts = world.timeline(id.verification).await.attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].id, attempts[0].status), (attempt(id, 1), AttemptStatus::Sent));
    assert_eq!(attempts[0].message_id.as_deref(), Some("m1"));
    assert_eq!((world.due().await.len(), world.tokens_used().await), (0, 1));
}

async fn a_message_that_arrived_at_once_is_delivered(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    let outcome = Ok(Handed { message_id: None, delivered: true });
    let call = Call { provider: "sandbox".to_owned(), chosen: String::new(), started: T0, finished: at(1), outcome };
    world.finish(at(1), Finish { attempt: held, call: Some(call), next: Next::Done }).await;
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.delivered), (DispatchStatus::Delivered, Some(at(1))));
}

async fn a_retry_is_due_at_its_time(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    let finish = failed(T0, held, Cause::Unavailable, Next::Retry { at: at(2) });
    assert!(matches!(world.finish(T0, finish).await, Finished::Current { next: None, .. }));
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.pass), (DispatchStatus::Queued, 1));
    assert_eq!((dispatch.tried.len(), dispatch.reason.as_deref()), (0, Some("unavailable")));
    assert_eq!(world.due().await, [Due { dispatch: id, at: at(2), deadline: at(280), published: 0 }]);
    world.claimed(at(2), id, 2).await;
}

async fn a_failover_claims_the_next_attempt_at_once(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    let finish = failed(at(1), held, Cause::Unavailable, Next::Failover { lease: LEASE });
    let Finished::Current { next: Some(next), .. } = world.finish(at(1), finish).await else { panic!("no next") };
    assert_eq!((next.attempt(), next.dispatch.lease), (attempt(id, 2), Some(at(1) + LEASE)));
    let dispatch = world.dispatch(id).await;
    assert_eq!(next.dispatch, dispatch);
    assert_eq!((dispatch.tried, dispatch.first_attempt), (vec!["acme".to_owned()], Some(T0)));
    world.finish(at(2), taken(at(2), next.attempt(), "m2")).await;
    assert_eq!(world.timeline(id.verification).await.attempts.len(), 2);
}

async fn no_failover_for_a_code_that_died_meanwhile(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    world.verify_one(T0, world.guess(ANN, CODE)).await;
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sending, "it may be on the wire");
    let finish = failed(at(1), held, Cause::Unavailable, Next::Failover { lease: LEASE });
    assert!(matches!(world.finish(at(1), finish).await, Finished::Current { next: None, .. }));
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.reason.as_deref()), (DispatchStatus::Expired, Some("verified")));
    assert_eq!((world.tokens_used().await, world.due().await.len()), (0, 0));
}

async fn giving_up_refunds_once(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    let answers = world.store.finish(T0, &[gives_up(held), gives_up(held)]).await.expect("finished");
    assert!(matches!(answers[..], [Finished::Current { .. }, Finished::Late]), "{answers:?}");
    assert!(matches!(world.finish(T0, gives_up(held)).await, Finished::Late));
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.charge), (DispatchStatus::Failed, Charge::Returned));
    assert_eq!((world.tokens_used().await, world.due().await.len()), (0, 0));
}

async fn a_job_handed_back_is_due_now(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    world.finish(at(1), Finish { attempt: held, call: None, next: Next::HandBack { at: at(1) } }).await;
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Queued);
    assert_eq!(world.relay(at(1), 10).await[0].attempt, attempt(id, 2));
    assert_eq!(world.timeline(id.verification).await.attempts, []);
}

async fn a_late_failure_neither_lowers_nor_schedules(world: World) {
    let id = second_attempt(&world).await;
    let due = world.due().await;
    assert!(matches!(world.finish(at(17), gives_up(attempt(id, 1))).await, Finished::Late));
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sending);
    world.finish(at(18), taken(at(18), attempt(id, 2), "m2")).await;
    let retry = failed(at(19), attempt(id, 1), Cause::Unavailable, Next::Retry { at: at(30) });
    assert!(matches!(world.finish(at(19), retry).await, Finished::Late));
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sent);
    assert_eq!((due.len(), world.due().await.len(), world.tokens_used().await), (1, 0, 1));
}

async fn a_late_success_raises_what_had_failed(world: World) {
    let id = second_attempt(&world).await;
    world.finish(at(17), gives_up(attempt(id, 2))).await;
    assert_eq!((world.dispatch(id).await.status, world.tokens_used().await), (DispatchStatus::Failed, 0));
    assert!(matches!(world.finish(at(18), taken(at(18), attempt(id, 1), "m1")).await, Finished::Late));
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.charge), (DispatchStatus::Sent, Charge::Settled));
    assert_eq!((world.tokens_used().await, world.due().await.len()), (1, 0));
    let first = &world.timeline(id.verification).await.attempts[0];
    assert_eq!((first.status, first.cause.as_deref()), (AttemptStatus::Sent, None));
}

async fn a_repeated_finish_changes_nothing(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let before = world.dispatch(id).await;
    assert!(matches!(world.finish(at(1), taken(T0, attempt(id, 1), "m1")).await, Finished::Late));
    assert_eq!((world.dispatch(id).await, world.tokens_used().await), (before, 1));
}

async fn a_finish_of_nothing_known_is_unknown(world: World) {
    let unknown = attempt(DispatchId { verification: VerificationId::new(T0), n: 1 }, 1);
    assert!(matches!(world.finish(T0, taken(T0, unknown, "m1")).await, Finished::Unknown));
}

async fn a_provider_may_give_one_message_id_twice(world: World) {
    let (ann, bob) = (world.send(T0, ANN).await, world.send(T0, BOB).await);
    let held = [world.claimed(T0, ann, 1).await, world.claimed(T0, bob, 1).await];
    let batch = held.map(|held| taken(T0, held, "same"));
    world.store.finish(T0, &batch).await.expect("finished");
    world.sent(at(60), "carl@example.com", "same").await;
    for id in [ann, bob] {
        assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sent);
    }
}

async fn receipts_that_came_before_the_finish_join_it(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    world.receive(receipt(T0, "m1", ReceiptStatus::Delivered)).await;
    world.receive(receipt(T0, "m1", ReceiptStatus::Sent)).await;
    world.finish(at(1), taken(at(1), held, "m1")).await;
    let timeline = world.timeline(id.verification).await;
    assert_eq!(timeline.dispatches[0].status, DispatchStatus::Delivered);
    assert_eq!(timeline.attempts[0].status, AttemptStatus::Delivered);
    assert_eq!(timeline.receipts.iter().map(|receipt| receipt.attempt).collect::<Vec<_>>(), [Some(held); 2]);
}
