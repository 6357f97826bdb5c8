//! Receipts: late, early, repeated and unknown ones do no harm.

use common::otp::changes::{Changes, MessageId};
use common::otp::finish::{Finished, Next};
use common::otp::ids::AttemptId;
use common::otp::provider_error::Cause;
use common::otp::receipt::Received;
use common::otp::rows::{Charge, Receipt};
use common::otp::status::{AttemptStatus, DispatchStatus, ReceiptStatus};

use crate::world::{ANN, BOB, LEASE, T0, World, at, attempt, failed, receipt, taken};

crate::scenarios! {
    a_receipt_moves_its_dispatch,
    delivered_stays_delivered_in_any_order,
    a_repeated_receipt_moves_nothing,
    undelivered_gives_way_to_delivered_alone,
    receipts_of_one_message_in_one_batch_are_all_applied,
    a_receipt_that_names_its_attempt_needs_no_message_id,
    a_receipt_faster_than_the_providers_reply_stands,
    a_receipt_stands_in_for_a_worker_that_is_gone,
    a_receipt_of_another_provider_leaves_an_attempt_alone,
    a_receipt_of_another_provider_does_not_stop_a_failover,
    a_receipt_of_an_unknown_message_is_parked,
    a_parked_receipt_is_joined_when_its_message_is_known,
    a_receipt_parked_too_long_is_not_joined,
    a_receipt_of_a_refunded_dispatch_takes_the_token_again,
    a_dispatch_is_as_good_as_its_best_attempt,
}

async fn a_receipt_moves_its_dispatch(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let mut delivered = receipt(at(5), "m1", ReceiptStatus::Delivered);
    delivered.detail = Some("handset".to_owned());
    let Received::Applied { dispatch, moved: true } = world.receive(delivered.clone()).await else { panic!("parked") };
    assert_eq!((dispatch.status, dispatch.delivered), (DispatchStatus::Delivered, Some(at(5))));
    let timeline = world.timeline(id.verification).await;
    assert_eq!(timeline.dispatches, [*dispatch]);
    assert_eq!(timeline.receipts, [Receipt { attempt: Some(attempt(id, 1)), ..delivered }]);
}

async fn delivered_stays_delivered_in_any_order(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    for status in [ReceiptStatus::Delivered, ReceiptStatus::Sent, ReceiptStatus::Undelivered] {
        world.receive(receipt(at(5), "m1", status)).await;
    }
    let timeline = world.timeline(id.verification).await;
    assert_eq!(timeline.dispatches[0].status, DispatchStatus::Delivered);
    assert_eq!((timeline.attempts[0].status, timeline.receipts.len()), (AttemptStatus::Delivered, 3));
}

async fn a_repeated_receipt_moves_nothing(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    world.receive(receipt(at(5), "m1", ReceiptStatus::Delivered)).await;
    let before = world.dispatch(id).await;
    let again = world.receive(receipt(at(9), "m1", ReceiptStatus::Delivered)).await;
    assert!(matches!(again, Received::Applied { moved: false, .. }), "{again:?}");
    assert_eq!((world.dispatch(id).await, world.tokens_used().await), (before, 1));
}

async fn undelivered_gives_way_to_delivered_alone(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let mut undelivered = receipt(at(5), "m1", ReceiptStatus::Undelivered);
    undelivered.detail = Some("absent".to_owned());
    world.receive(undelivered).await;
    world.receive(receipt(at(6), "m1", ReceiptStatus::Sent)).await;
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.reason.as_deref()), (DispatchStatus::Undelivered, Some("absent")));
    world.receive(receipt(at(7), "m1", ReceiptStatus::Delivered)).await;
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.reason), (DispatchStatus::Delivered, None));
}

async fn receipts_of_one_message_in_one_batch_are_all_applied(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let batch = [ReceiptStatus::Undelivered, ReceiptStatus::Delivered, ReceiptStatus::Sent];
    let batch = batch.map(|status| receipt(at(5), "m1", status));
    let answers = world.store.receive(at(5), &batch).await.expect("received");
    assert!(answers.iter().all(|answer| matches!(answer, Received::Applied { .. })), "{answers:?}");
    let timeline = world.timeline(id.verification).await;
    assert_eq!((timeline.dispatches[0].status, timeline.receipts.len()), (DispatchStatus::Delivered, 3));
}

async fn a_receipt_that_names_its_attempt_needs_no_message_id(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let mut named = receipt(at(5), "another", ReceiptStatus::Delivered);
    named.attempt = Some(attempt(id, 1));
    assert!(matches!(world.receive(named).await, Received::Applied { moved: true, .. }));
    let mut unknown = receipt(at(5), "another", ReceiptStatus::Delivered);
    unknown.attempt = Some(attempt(id, 7));
    assert_eq!(world.receive(unknown).await, Received::Parked);
}

async fn a_receipt_faster_than_the_providers_reply_stands(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    let early = Receipt { attempt: Some(held), ..receipt(at(1), "m1", ReceiptStatus::Sent) };
    assert_eq!(world.receive(early).await, Received::Parked, "who was asked is not known yet");
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sending);
    world.finish(at(10), failed(at(10), held, Cause::Ambiguous, Next::Failover { lease: LEASE })).await;
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.attempt, dispatch.lease), (DispatchStatus::Sent, 1, None));
    assert_eq!(world.due().await, [], "and it is not sent again");
    world.receive(receipt(at(12), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Delivered);
    assert_eq!((world.timeline(id.verification).await.attempts.len(), world.tokens_used().await), (1, 1));
}

async fn a_receipt_stands_in_for_a_worker_that_is_gone(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    let early = Receipt { attempt: Some(held), ..receipt(at(1), "m1", ReceiptStatus::Delivered) };
    world.receive(early.clone()).await;
    assert_eq!(world.relay(at(20), 10).await, [], "it is not sent again");
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.provider.as_deref()), (DispatchStatus::Delivered, Some("acme")));
    assert_eq!((world.due().await, world.tokens_used().await), (vec![], 1));
    assert_eq!(world.store.join_receipts(at(20), T0, 10).await.expect("joined"), 1);
    assert_eq!(world.timeline(id.verification).await.receipts, [Receipt { attempt: Some(held), ..early }]);
}

/// What a provider says that was not asked.
fn foreign(seconds: u64, held: AttemptId) -> Receipt {
    let receipt = receipt(at(seconds), "m9", ReceiptStatus::Delivered);
    Receipt { attempt: Some(held), provider: "other".to_owned(), ..receipt }
}

async fn a_receipt_of_another_provider_leaves_an_attempt_alone(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let before = world.dispatch(id).await;
    assert_eq!(world.receive(foreign(5, attempt(id, 1))).await, Received::Parked);
    assert_eq!(world.dispatch(id).await, before);
    let attempts = world.timeline(id.verification).await.attempts;
    assert_eq!((attempts[0].status, attempts[0].provider.as_deref()), (AttemptStatus::Sent, Some("acme")));
}

async fn a_receipt_of_another_provider_does_not_stop_a_failover(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    world.receive(foreign(1, held)).await;
    let failed = failed(at(2), held, Cause::Unavailable, Next::Failover { lease: LEASE });
    assert!(matches!(world.finish(at(2), failed).await, Finished::Current { next: Some(_), .. }));
    let attempts = world.timeline(id.verification).await.attempts;
    assert_eq!((attempts[0].status, attempts[0].provider.as_deref()), (AttemptStatus::Failed, Some("acme")));
    // Who has failed already in this pass is not asked again, whatever it says.
    let late = Receipt { attempt: Some(attempt(id, 2)), ..receipt(at(3), "m2", ReceiptStatus::Delivered) };
    world.receive(late).await;
    assert_eq!(world.timeline(id.verification).await.attempts.len(), 1);
    assert_eq!(
        world.store.join_receipts(at(20), T0, 10).await.expect("joined"),
        1,
        "what is left is looked at, and left"
    );
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sending);
}

async fn a_receipt_of_an_unknown_message_is_parked(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    assert_eq!(world.receive(receipt(at(5), "m2", ReceiptStatus::Delivered)).await, Received::Parked);
    let mut foreign = receipt(at(5), "m1", ReceiptStatus::Delivered);
    foreign.provider = "other".to_owned();
    assert_eq!(world.receive(foreign).await, Received::Parked, "message ids are a provider's own");
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sent);
    assert_eq!(world.store.join_receipts(at(20), T0, 10).await.expect("joined"), 0);
}

/// As when the finish and the receipt were written at the same moment, so that neither saw the other.
async fn learn_message_id(world: &World, message_id: MessageId) {
    let mut tx = world.begin().await;
    tx.write(&Changes { message_ids: vec![message_id], ..Changes::at(at(5)) }).await.expect("written");
    tx.commit().await.expect("committed");
}

async fn a_parked_receipt_is_joined_when_its_message_is_known(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let parked = receipt(at(5), "m2", ReceiptStatus::Delivered);
    world.receive(parked.clone()).await;
    world.receive(receipt(at(5), "m3", ReceiptStatus::Delivered)).await;
    let (provider, message_id) = (parked.provider.clone(), parked.message_id.clone());
    learn_message_id(&world, MessageId { provider, message_id, attempt: attempt(id, 1), created: at(5) }).await;
    assert_eq!(world.store.join_receipts(at(20), T0, 10).await.expect("joined"), 1);
    let timeline = world.timeline(id.verification).await;
    assert_eq!(timeline.dispatches[0].status, DispatchStatus::Delivered);
    assert_eq!(timeline.receipts, [Receipt { attempt: Some(attempt(id, 1)), ..parked }]);
    assert_eq!(world.store.join_receipts(at(20), T0, 10).await.expect("joined"), 0);
}

async fn a_receipt_parked_too_long_is_not_joined(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    world.receive(receipt(at(5), "m2", ReceiptStatus::Delivered)).await;
    let (provider, message_id) = ("acme".to_owned(), "m2".to_owned());
    learn_message_id(&world, MessageId { provider, message_id, attempt: attempt(id, 1), created: at(5) }).await;
    assert_eq!(world.store.join_receipts(at(20), at(6), 10).await.expect("joined"), 0);
    assert_eq!(world.store.join_receipts(at(20), at(5), 10).await.expect("joined"), 1);
}

async fn a_receipt_of_a_refunded_dispatch_takes_the_token_again(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "no answer".to_owned() };
    world.finish(T0, failed(T0, held, Cause::Ambiguous, next)).await;
    assert_eq!(world.tokens_used().await, 0);
    let mut named = receipt(at(5), "m1", ReceiptStatus::Sent);
    named.attempt = Some(held);
    world.receive(named.clone()).await;
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.charge), (DispatchStatus::Sent, Charge::Settled));
    named.id = uuid::Uuid::now_v7();
    world.receive(named).await;
    assert_eq!(world.tokens_used().await, 1);
}

async fn a_dispatch_is_as_good_as_its_best_attempt(world: World) {
    let id = world.send(T0, BOB).await;
    world.claimed(T0, id, 1).await;
    world.relay(at(16), 10).await;
    let second = world.claimed(at(16), id, 2).await;
    world.finish(at(17), taken(at(17), attempt(id, 1), "m1")).await;
    world.finish(at(18), taken(at(18), second, "m2")).await;
    world.receive(receipt(at(19), "m1", ReceiptStatus::Undelivered)).await;
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sent);
    world.receive(receipt(at(20), "m2", ReceiptStatus::Delivered)).await;
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Delivered);
}
