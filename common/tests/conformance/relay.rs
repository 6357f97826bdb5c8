//! The relay: whatever is late comes again, or ends.

use std::collections::BTreeSet;

use common::otp::changes::Changes;
use common::otp::relay::DueJob;
use common::otp::rows::{Charge, Due};
use common::otp::status::{AttemptStatus, DispatchStatus};
use futures_util::future::join_all;

use crate::world::{ANN, BOB, CODE, LEASE, T0, World, at, attempt};

crate::scenarios! {
    nothing_is_published_before_it_is_due,
    a_lost_publish_comes_again_ever_later,
    the_earliest_deadline_comes_first,
    what_there_is_no_room_for_stays_due_and_what_is_dead_ends,
    a_held_attempt_is_looked_at_when_its_lease_ends,
    an_ended_lease_closes_the_attempt_as_ambiguous_and_the_next_is_due,
    two_attempts_without_an_answer_are_enough,
    past_its_deadline_a_dispatch_expires_and_is_refunded,
    a_dispatch_of_a_closed_verification_ends_for_it,
    two_relays_never_publish_the_same_job,
    what_is_done_is_due_no_more,
    void_leases_are_due_at_once,
}

async fn nothing_is_published_before_it_is_due(world: World) {
    world.send(T0, ANN).await;
    assert_eq!(world.relay(at(4), 10).await, []);
    assert_eq!(world.relay(at(5), 10).await.len(), 1);
}

async fn a_lost_publish_comes_again_ever_later(world: World) {
    let id = world.send(T0, ANN).await;
    let job = DueJob { attempt: attempt(id, 1), deadline: at(280) };
    for (now, next, published) in [(5, 15, 1), (15, 35, 2), (35, 75, 3), (75, 135, 4)] {
        assert_eq!(world.relay(at(now), 10).await, [job]);
        assert_eq!(world.relay(at(now), 10).await, [], "not twice");
        assert_eq!(world.due().await, [Due { dispatch: id, at: at(next), deadline: at(280), published }]);
    }
    world.claimed(at(80), id, 1).await;
}

async fn the_earliest_deadline_comes_first(world: World) {
    let mut long = world.request(T0, ANN).0;
    long.candidate.expires = at(600);
    let long = world.accept_one(T0, long).await.expect("accepted").dispatch;
    let short = world.send(at(1), BOB).await;
    let jobs = [world.relay(at(10), 1).await, world.relay(at(10), 1).await].concat();
    assert_eq!(jobs.iter().map(|job| job.attempt.dispatch).collect::<Vec<_>>(), [short, long]);
}

async fn what_there_is_no_room_for_stays_due_and_what_is_dead_ends(world: World) {
    let dead = world.send(T0, BOB).await;
    let live = world.send(at(100), ANN).await;
    let jobs = world.store.relay(at(290), 10, 0, &mut || 0.5).await.expect("relayed");
    assert_eq!(jobs, []);
    assert_eq!(world.dispatch(dead).await.status, DispatchStatus::Expired);
    let due = world.due().await;
    assert_eq!((due.len(), due[0].dispatch, due[0].at, due[0].published), (1, live, at(105), 0));
}

async fn a_held_attempt_is_looked_at_when_its_lease_ends(world: World) {
    let id = world.send(T0, ANN).await;
    world.claimed(at(4), id, 1).await;
    assert_eq!(world.relay(at(5), 10).await, []);
    assert_eq!(world.due().await[0].at, at(4) + LEASE);
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Sending);
}

async fn an_ended_lease_closes_the_attempt_as_ambiguous_and_the_next_is_due(world: World) {
    let id = world.send(T0, ANN).await;
    world.claimed(T0, id, 1).await;
    assert_eq!(world.relay(at(15), 10).await, [DueJob { attempt: attempt(id, 2), deadline: at(280) }]);
    let closed = &world.timeline(id.verification).await.attempts[0];
    assert_eq!((closed.id, closed.status), (attempt(id, 1), AttemptStatus::Failed));
    assert_eq!((closed.cause.as_deref(), closed.provider.as_deref()), (Some("ambiguous"), None));
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.lease, dispatch.ambiguous), (DispatchStatus::Queued, None, 1));
    world.claimed(at(16), id, 2).await;
}

async fn two_attempts_without_an_answer_are_enough(world: World) {
    let id = world.send(T0, ANN).await;
    for (n, now) in [(1, 0), (2, 20)] {
        world.claimed(at(now), id, n).await;
        world.relay(at(now + 15), 10).await;
    }
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.reason.as_deref()), (DispatchStatus::Failed, Some("no answer")));
    assert_eq!((dispatch.charge, world.tokens_used().await), (Charge::Returned, 0));
    assert_eq!(world.due().await, []);
}

async fn past_its_deadline_a_dispatch_expires_and_is_refunded(world: World) {
    let id = world.send(T0, ANN).await;
    assert_eq!(world.relay(at(280), 10).await, []);
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.reason.as_deref()), (DispatchStatus::Expired, Some("expired")));
    assert_eq!((dispatch.charge, world.tokens_used().await), (Charge::Returned, 0));
    assert_eq!(world.due().await, []);
}

async fn a_dispatch_of_a_closed_verification_ends_for_it(world: World) {
    let id = world.send(T0, ANN).await;
    world.claimed(T0, id, 1).await;
    world.verify_one(at(1), world.guess(ANN, CODE)).await;
    assert_eq!(world.relay(at(20), 10).await, []);
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.reason.as_deref()), (DispatchStatus::Expired, Some("verified")));
    assert_eq!((world.tokens_used().await, world.due().await.len()), (0, 0));
}

async fn two_relays_never_publish_the_same_job(world: World) {
    let batch: Vec<_> = (0..60).map(|i| world.request(T0, &format!("{i}@example.com")).0).collect();
    world.accept(T0, &batch).await;
    let jobs = join_all((0..6).map(|_| world.relay(at(5), 20))).await.concat();
    let different: BTreeSet<_> = jobs.iter().map(|job| job.attempt).collect();
    assert_eq!(different.len(), jobs.len());
    let rest = join_all((0..3).map(|_| world.relay(at(5), 60))).await.concat();
    assert_eq!(jobs.len() + rest.len(), 60, "and none is left out");
}

async fn what_is_done_is_due_no_more(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    let left_over = Due { dispatch: id, at: at(5), deadline: at(280), published: 0 };
    let mut tx = world.begin().await;
    tx.write(&Changes { due: [(id, left_over)].into(), ..Changes::at(T0) }).await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!(world.relay(at(5), 10).await, []);
    assert_eq!((world.due().await.len(), world.dispatch(id).await.status), (0, DispatchStatus::Sent));
}

async fn void_leases_are_due_at_once(world: World) {
    let (held, waiting) = (world.send(T0, ANN).await, world.send(T0, BOB).await);
    world.claimed(T0, held, 1).await;
    world.relay(at(5), 10).await;
    assert_eq!(world.store.void_leases(at(6)).await.expect("voided"), 1);
    assert_eq!(world.dispatch(held).await.lease, Some(at(6)));
    assert_eq!(world.relay(at(6), 10).await, [DueJob { attempt: attempt(held, 2), deadline: at(280) }]);
    assert_eq!(world.due().await.iter().find(|due| due.dispatch == waiting).map(|due| due.at), Some(at(15)));
}
