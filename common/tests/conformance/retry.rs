//! Retrying by hand: an operator may send again what was not sent, and nothing else.

use common::otp::finish::Next;
use common::otp::ids::{DispatchId, VerificationId};
use common::otp::provider_error::Cause;
use common::otp::retry::NotRetried;
use common::otp::rows::{Charge, Due};
use common::otp::status::DispatchStatus;

use crate::world::{ANN, BOB, CODE, T0, World, at, failed};

crate::scenarios! {
    a_failed_dispatch_is_due_again_and_takes_its_token,
    a_waiting_dispatch_is_due_at_once,
    what_was_sent_is_held_or_dead_is_not_retried,
    without_a_token_nothing_is_retried,
}

async fn given_up(world: &World, target: &str) -> DispatchId {
    let id = world.send(T0, target).await;
    let held = world.claimed(T0, id, 1).await;
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "rejected".to_owned() };
    world.finish(T0, failed(T0, held, Cause::Rejected, next)).await;
    id
}

async fn retry(world: &World, id: DispatchId) -> Result<(), NotRetried> {
    world.store.retry(at(9), id).await.expect("an answer")
}

async fn a_failed_dispatch_is_due_again_and_takes_its_token(world: World) {
    let id = given_up(&world, ANN).await;
    assert_eq!(retry(&world, id).await, Ok(()));
    let dispatch = world.dispatch(id).await;
    assert_eq!((dispatch.status, dispatch.charge), (DispatchStatus::Queued, Charge::Reserved));
    assert_eq!(world.due().await, [Due { dispatch: id, at: at(9), deadline: at(280), published: 0 }]);
    assert_eq!(world.tokens_used().await, 1);
    world.claimed(at(9), id, 2).await;
}

async fn a_waiting_dispatch_is_due_at_once(world: World) {
    let id = world.send(T0, ANN).await;
    world.relay(at(5), 10).await;
    assert_eq!(retry(&world, id).await, Ok(()));
    assert_eq!(world.due().await, [Due { dispatch: id, at: at(9), deadline: at(280), published: 0 }]);
    assert_eq!(world.tokens_used().await, 1);
}

async fn what_was_sent_is_held_or_dead_is_not_retried(world: World) {
    let sent = world.sent(T0, "sent@example.com", "m1").await;
    let held = world.send(T0, "held@example.com").await;
    world.claimed(T0, held, 1).await;
    let dead = given_up(&world, ANN).await;
    world.verify_one(at(1), world.guess(ANN, CODE)).await;
    let unknown = DispatchId { verification: VerificationId::new(T0), n: 1 };
    let before = (world.tokens_used().await, world.due().await);
    for (id, reason) in [
        (sent, NotRetried::Accepted),
        (held, NotRetried::Held),
        (dead, NotRetried::Dead),
        (unknown, NotRetried::Unknown),
    ] {
        assert_eq!(retry(&world, id).await, Err(reason));
    }
    assert_eq!((world.tokens_used().await, world.due().await), before);
}

async fn without_a_token_nothing_is_retried(world: World) {
    let world = world.with_tokens(1).await;
    let id = given_up(&world, ANN).await;
    world.send(T0, BOB).await;
    assert_eq!(retry(&world, id).await, Err(NotRetried::NoToken));
    assert_eq!(world.dispatch(id).await.status, DispatchStatus::Failed);
}
