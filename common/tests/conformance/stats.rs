//! The hourly counters: a verification counts in the hour it was opened in, by its newest dispatch.

use common::otp::changes::Dimension;
use common::otp::channel::Mode;
use common::otp::finish::Next;
use common::otp::provider_error::Cause;
use common::otp::status::{DispatchStatus, ReceiptStatus};
use common::store::records::Count;
use futures_util::future::join_all;

use crate::world::{ANN, BOB, CODE, T0, World, at, attempt, failed, receipt, taken};

crate::scenarios! {
    a_send_counts_once_by_channel_country_and_status,
    a_dispatch_counts_in_its_last_status_and_provider,
    a_resend_counts_by_its_newest_dispatch,
    a_verified_one_counts_by_its_channel,
    ends_without_a_send_are_counted,
    a_refused_send_is_not_counted,
    counters_are_read_by_hour_and_mode,
    concurrent_changes_all_count,
}

/// How many there are in each status, without those that there are none of.
async fn by_status(world: &World) -> Vec<(&'static str, i64)> {
    let mut counts = Vec::new();
    for status in DispatchStatus::ALL {
        match world.counted(Dimension::Status, status.as_str()).await {
            0 => {}
            count => counts.push((status.as_str(), count)),
        }
    }
    counts
}

async fn a_send_counts_once_by_channel_country_and_status(world: World) {
    world.send(T0, ANN).await;
    world.send(T0, BOB).await;
    assert_eq!(world.counted(Dimension::Total, "").await, 2);
    assert_eq!(world.counted(Dimension::Channel, "sms").await, 1);
    assert_eq!(world.counted(Dimension::Channel, "email").await, 1);
    assert_eq!(world.counted(Dimension::Country, "DE").await, 1);
    assert_eq!(by_status(&world).await, [("queued", 2)]);
}

async fn a_dispatch_counts_in_its_last_status_and_provider(world: World) {
    let id = world.send(T0, ANN).await;
    let held = world.claimed(T0, id, 1).await;
    assert_eq!(by_status(&world).await, [("sending", 1)]);
    world.finish(T0, failed(T0, held, Cause::Unavailable, Next::Retry { at: at(2) })).await;
    assert_eq!(by_status(&world).await, [("queued", 1)]);
    let held = world.claimed(at(2), id, 2).await;
    let mut elsewhere = taken(at(2), held, "m1");
    elsewhere.call.as_mut().expect("a call").provider = "other".to_owned();
    world.finish(at(2), elsewhere).await;
    assert_eq!(by_status(&world).await, [("sent", 1)]);
    assert_eq!(world.counted(Dimension::Provider, "acme").await, 0);
    assert_eq!(world.counted(Dimension::Provider, "other").await, 1);
    let mut delivered = receipt(at(3), "m1", ReceiptStatus::Delivered);
    delivered.provider = "other".to_owned();
    world.receive(delivered).await;
    assert_eq!(by_status(&world).await, [("delivered", 1)]);
}

async fn a_resend_counts_by_its_newest_dispatch(world: World) {
    let first = world.sent(T0, ANN, "m1").await;
    let second = world.send(at(30), ANN).await;
    assert_eq!(second.verification, first.verification);
    assert_eq!((by_status(&world).await, world.counted(Dimension::Total, "").await), (vec![("queued", 1)], 1));
    assert_eq!(world.counted(Dimension::Provider, "acme").await, 0);
    world.receive(receipt(at(31), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!(by_status(&world).await, [("queued", 1)], "the older one does not count any more");
}

async fn a_verified_one_counts_by_its_channel(world: World) {
    world.sent(T0, ANN, "m1").await;
    world.verify_one(at(1), world.guess(ANN, CODE)).await;
    world.verify_one(at(1), world.guess(ANN, CODE)).await;
    assert_eq!(world.counted(Dimension::Verified, "sms").await, 1);
    assert_eq!(by_status(&world).await, [("sent", 1)]);
}

async fn ends_without_a_send_are_counted(world: World) {
    world.send(T0, ANN).await;
    world.guess_wrong(at(1), ANN, 5).await;
    world.send(T0, BOB).await;
    world.relay(at(290), 10).await;
    let id = world.send(T0, "c@example.com").await;
    world.claimed(T0, id, 1).await;
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "rejected".to_owned() };
    world.finish(T0, failed(T0, attempt(id, 1), Cause::Rejected, next)).await;
    let id = world.send(T0, "d@example.com").await.verification;
    world.store.cancel(T0, world.id(), Mode::Live.visible(), Some(id), "").await.expect("canceled");
    assert_eq!(by_status(&world).await, [("failed", 1), ("expired", 3)]);
    assert_eq!(world.counted(Dimension::Total, "").await, 4);
}

async fn a_refused_send_is_not_counted(world: World) {
    let world = world.with_tokens(0).await;
    let refused = world.accept_one(T0, world.request(T0, ANN).0).await;
    assert!(refused.is_err());
    assert_eq!(world.counted(Dimension::Total, "").await, 0);
}

async fn counters_are_read_by_hour_and_mode(world: World) {
    world.send(T0, ANN).await;
    world.accept_one(T0, world.request(T0, BOB).sandbox().0).await.expect("accepted");
    world.send(at(3600), BOB).await;
    let total = async |mode: Mode, from, until| {
        let counts = world.store.stats(world.id(), mode.visible(), &Dimension::ALL, from, until).await.expect("stats");
        let of = |count: &&Count| count.dimension == Dimension::Total;
        counts.iter().filter(of).map(|count| count.count).sum::<i64>()
    };
    assert_eq!(total(Mode::Live, None, None).await, 3);
    assert_eq!(total(Mode::Sandbox, None, None).await, 1);
    assert_eq!(total(Mode::Live, Some(at(3600).hour()), None).await, 1);
    assert_eq!(total(Mode::Live, Some(T0.hour()), Some(at(3600).hour())).await, 2);
    assert_eq!(total(Mode::Live, None, Some(T0.hour())).await, 0);
    let other = world.other_project().await;
    assert_eq!(other.counted(Dimension::Total, "").await, 0);
}

async fn concurrent_changes_all_count(world: World) {
    let batches: Vec<_> =
        (0..8).map(|n| [0, 1, 2].map(|i| world.request(T0, &format!("{n}.{i}@example.com")).0)).collect();
    let sent = join_all(batches.iter().map(|batch| world.accept(T0, batch))).await;
    let sent: Vec<_> = sent.into_iter().flatten().map(|answer| answer.expect("accepted").dispatch).collect();
    join_all(sent.iter().map(|id| world.claimed(T0, *id, 1))).await;
    join_all(sent.iter().map(|id| world.finish(T0, taken(T0, attempt(*id, 1), &id.to_string())))).await;
    assert_eq!((by_status(&world).await, world.counted(Dimension::Total, "").await), (vec![("sent", 24)], 24));
    assert_eq!((world.counted(Dimension::Provider, "acme").await, world.tokens_used().await), (24, 24));
}
