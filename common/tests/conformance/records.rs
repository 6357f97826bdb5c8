//! Looking back: lists, counts, timelines, and the inbox of the sandbox.

use common::otp::channel::{Channel, Mode};
use common::otp::finish::Next;
use common::otp::ids::{DispatchId, VerificationId};
use common::otp::provider_error::Cause;
use common::otp::rows::Sealed;
use common::otp::status::{DispatchStatus, ReceiptStatus};
use common::store::records::{Page, RecordFilter, SandboxMessage};
use uuid::Uuid;

use crate::world::{ANN, BOB, CODE, T0, World, at, attempt, failed, receipt};

crate::scenarios! {
    records_come_newest_first_with_their_newest_dispatch,
    records_are_paged_by_offset_and_by_cursor,
    every_filter_filters,
    records_are_counted_no_further_than_asked,
    a_timeline_has_everything_in_order,
    a_timeline_is_its_projects_and_modes_own,
    dispatches_that_need_somebody_are_listed,
    the_inbox_has_the_newest_first,
}

const ALL: Page = Page { before: None, offset: 0, limit: 100 };

async fn listed(world: &World, filter: &RecordFilter, page: Page) -> Vec<VerificationId> {
    let records = world.store.list_records(filter, page).await.expect("records");
    records.into_iter().map(|record| record.verification.id).collect()
}

/// Five verifications, a second apart, oldest first.
async fn five(world: &World) -> Vec<VerificationId> {
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(world.send(at(i), &format!("{i}@example.com")).await.verification);
    }
    ids
}

async fn records_come_newest_first_with_their_newest_dispatch(world: World) {
    let first = world.sent(T0, ANN, "m1").await;
    let other = world.send(at(1), BOB).await;
    let again = world.send(at(30), ANN).await;
    let records = world.store.list_records(&world.filter(), ALL).await.expect("records");
    assert_eq!(records.iter().map(|record| record.dispatch.id).collect::<Vec<_>>(), [other, again]);
    assert_eq!(records[1].verification, world.verification(first.verification).await);
    assert_eq!(records[1].dispatch, world.dispatch(again).await);
}

async fn records_are_paged_by_offset_and_by_cursor(world: World) {
    let ids = five(&world).await;
    let filter = world.filter();
    assert_eq!(listed(&world, &filter, Page { limit: 2, ..ALL }).await, [ids[4], ids[3]]);
    assert_eq!(listed(&world, &filter, Page { offset: 2, limit: 2, ..ALL }).await, [ids[2], ids[1]]);
    assert_eq!(listed(&world, &filter, Page { before: Some(ids[2]), ..ALL }).await, [ids[1], ids[0]]);
    assert_eq!(listed(&world, &filter, Page { before: Some(ids[0]), ..ALL }).await, []);
}

async fn every_filter_filters(world: World) {
    let ann = world.sent(T0, ANN, "m1").await.verification;
    let bob = world.accept_one(at(1), world.request(at(1), BOB).record("r").0).await.expect("accepted");
    let bob = bob.dispatch.verification;
    let sandbox = world.accept_one(at(2), world.request(at(2), BOB).sandbox().record("r").0).await.expect("accepted");
    let sandbox = sandbox.dispatch.verification;
    world.verify_one(at(3), world.guess(ANN, CODE)).await;
    let check = async |change: &dyn Fn(&mut RecordFilter), expected: &[VerificationId]| {
        let mut filter = world.filter();
        change(&mut filter);
        assert_eq!(listed(&world, &filter, ALL).await, expected, "{filter:?}");
        assert_eq!(world.store.count_records(&filter, 100).await.expect("a count") as usize, expected.len());
    };
    check(&|_| {}, &[sandbox, bob, ann]).await;
    check(&|filter| filter.modes = Mode::Sandbox.visible(), &[sandbox]).await;
    check(&|filter| filter.channel = Some(Channel::Sms), &[ann]).await;
    check(&|filter| filter.verified = Some(true), &[ann]).await;
    check(&|filter| filter.verified = Some(false), &[sandbox, bob]).await;
    check(&|filter| filter.status = Some(DispatchStatus::Sent), &[ann]).await;
    check(&|filter| filter.status = Some(DispatchStatus::Failed), &[]).await;
    check(&|filter| filter.record = Some("r".to_owned()), &[sandbox, bob]).await;
    check(&|filter| filter.record = Some("x".to_owned()), &[]).await;
    check(&|filter| filter.from = Some(at(1)), &[sandbox, bob]).await;
    check(&|filter| filter.until = Some(at(1)), &[ann]).await;
    check(&|filter| (filter.from, filter.until) = (Some(at(1)), Some(at(2))), &[bob]).await;
    check(&|filter| (filter.verified, filter.channel) = (Some(true), Some(Channel::Email)), &[]).await;
    let other = world.other_project().await;
    assert_eq!(listed(&other, &other.filter(), ALL).await, []);
}

async fn records_are_counted_no_further_than_asked(world: World) {
    five(&world).await;
    let count = async |at_most| world.store.count_records(&world.filter(), at_most).await.expect("a count");
    assert_eq!((count(10).await, count(5).await, count(3).await), (5, 5, 3));
}

async fn a_timeline_has_everything_in_order(world: World) {
    let first = world.send(T0, ANN).await;
    let held = world.claimed(T0, first, 1).await;
    world.finish(T0, failed(T0, held, Cause::Unavailable, Next::Retry { at: at(2) })).await;
    let held = world.claimed(at(2), first, 2).await;
    world.finish(at(2), crate::world::taken(at(2), held, "m1")).await;
    world.receive(receipt(at(4), "m1", ReceiptStatus::Delivered)).await;
    world.receive(receipt(at(3), "m1", ReceiptStatus::Sent)).await;
    let second = world.send(at(30), ANN).await;
    let timeline = world.timeline(first.verification).await;
    assert_eq!(timeline.dispatches.iter().map(|dispatch| dispatch.id).collect::<Vec<_>>(), [first, second]);
    let attempts: Vec<_> = timeline.attempts.iter().map(|attempt| attempt.id).collect();
    assert_eq!(attempts, [attempt(first, 1), attempt(first, 2)]);
    assert_eq!(timeline.attempts[0].detail.as_deref(), Some("no"));
    assert_eq!(timeline.receipts.iter().map(|receipt| receipt.received).collect::<Vec<_>>(), [at(3), at(4)]);
}

async fn a_timeline_is_its_projects_and_modes_own(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let other = world.other_project().await;
    let by = async |project, mode: Mode| world.store.timeline(project, mode.visible(), id).await.expect("an answer");
    assert!(by(world.id(), Mode::Live).await.is_some());
    assert!(by(other.id(), Mode::Live).await.is_none());
    assert!(by(world.id(), Mode::Sandbox).await.is_none());
}

async fn dispatches_that_need_somebody_are_listed(world: World) {
    let queued = world.send(T0, ANN).await;
    let lost = world.send(at(1), BOB).await;
    let held = world.claimed(at(1), lost, 1).await;
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "rejected".to_owned() };
    world.finish(at(1), failed(at(1), held, Cause::Rejected, next)).await;
    world.sent(at(2), "c@example.com", "m1").await;
    let of = async |statuses: &[DispatchStatus], limit| {
        let dispatches = world.store.list_dispatches(statuses, limit).await.expect("dispatches");
        dispatches.into_iter().map(|dispatch| dispatch.id).collect::<Vec<_>>()
    };
    let both = [DispatchStatus::Queued, DispatchStatus::Failed];
    assert_eq!(of(&both, 10).await, [lost, queued]);
    assert_eq!(of(&both, 1).await, [lost]);
    assert_eq!(of(&both[..1], 10).await, [queued]);
    assert_eq!(of(&[DispatchStatus::Sending, DispatchStatus::Expired], 10).await, []);
    let found = world.store.find_dispatch(lost).await.expect("found").expect("a dispatch");
    assert_eq!((found.0.id, found.1), (lost, world.verification(lost.verification).await));
    let unknown = DispatchId { n: 9, ..lost };
    assert!(world.store.find_dispatch(unknown).await.expect("an answer").is_none());
}

async fn the_inbox_has_the_newest_first(world: World) {
    let message = |n: u8, mode: Mode| SandboxMessage {
        id: Uuid::from_u128(u128::from(n)),
        project: world.id(),
        mode,
        channel: Channel::Email,
        target: [n % 2; 16],
        sealed: Sealed(vec![n, 0, 255]),
        created: at(n.into()),
    };
    let messages = [message(1, Mode::Sandbox), message(2, Mode::Sandbox), message(3, Mode::Live)];
    world.store.keep_messages(&messages).await.expect("kept");
    let inbox = async |mode: Mode, targets: Option<&[[u8; 16]]>, limit| {
        let messages = world.store.sandbox_messages(world.id(), mode.visible(), targets, limit).await;
        messages.expect("messages").into_iter().map(|message| message.sealed.0[0]).collect::<Vec<_>>()
    };
    assert_eq!(inbox(Mode::Live, None, 10).await, [3, 2, 1]);
    assert_eq!(inbox(Mode::Live, None, 2).await, [3, 2]);
    assert_eq!(inbox(Mode::Sandbox, None, 10).await, [2, 1]);
    assert_eq!(inbox(Mode::Live, Some(&[[1; 16], [7; 16]]), 10).await, [3, 1]);
    assert_eq!(inbox(Mode::Live, Some(&[]), 10).await, [0_u8; 0]);
    let other = world.other_project().await;
    let foreign = world.store.sandbox_messages(other.id(), Mode::Live.visible(), None, 10).await;
    assert!(foreign.expect("messages").is_empty());
}
