//! Chains: a fallback goes out when its turn comes, once, with limits and a token of its own.

use std::time::Duration;

use common::otp::accept::Accept;
use common::otp::chain::{Fallback, Fired, OwnTarget, Planned};
use common::otp::changes::Dimension;
use common::otp::channel::Channel;
use common::otp::claim::{Claimed, Unclaimed};
use common::otp::finish::{Finished, Next};
use common::otp::fire::{Fire, TargetLimit};
use common::otp::ids::DispatchId;
use common::otp::limits::Window;
use common::otp::provider_error::Cause;
use common::otp::relay::DueJob;
use common::otp::rows::{Charge, Due, Sealed};
use common::otp::status::{DispatchStatus, ReceiptStatus};
use common::otp::time::Timestamp;
use common::store::records::Page;
use futures_util::future::join_all;

use crate::world::{ANN, LEASE, Request, T0, World, at, attempt, failed, only, receipt, taken};

crate::scenarios! {
    a_fallback_waits_without_a_token_and_counts_nowhere,
    it_goes_out_when_its_time_has_come,
    its_time_is_not_before_what_it_was_given,
    its_time_counts_from_when_the_one_before_went_out,
    a_failure_makes_the_next_one_due_at_once,
    what_did_not_arrive_makes_the_next_one_due_at_once,
    an_attempt_that_nobody_answers_for_makes_the_next_one_due,
    those_behind_are_given_their_time_from_when_one_goes_out,
    what_no_provider_took_is_replaced_and_its_token_goes_over,
    of_many_at_once_one_fires,
    a_limited_target_gets_nothing_and_the_next_one_has_its_turn,
    without_a_token_nothing_goes_out,
    a_target_of_its_own_is_kept_sealed,
    who_asks_again_begins_anew,
}

pub(crate) fn planned(channel: Channel, after: u64) -> Planned {
    Planned { channel, after: Duration::from_secs(after), target: None }
}

/// An SMS that falls back on WhatsApp after 20 s.
pub(crate) fn request(world: &World, now: Timestamp) -> Accept {
    let Request(mut request) = world.request(now, ANN);
    request.fallbacks = vec![planned(Channel::Whatsapp, 20)];
    request
}

/// The same with an e-mail 30 s after that.
fn longer(world: &World, now: Timestamp) -> Accept {
    let mut request = request(world, now);
    request.fallbacks.push(planned(Channel::Email, 30));
    request
}

pub(crate) async fn sent(world: &World, request: Accept, message_id: &str) -> DispatchId {
    let now = request.candidate.id.created();
    let first = world.accept_one(now, request).await.expect("accepted").dispatch;
    let held = world.claimed(now, first, 1).await;
    world.finish(now, taken(now, held, message_id)).await;
    first
}

pub(crate) fn after(first: DispatchId, by: i16) -> DispatchId {
    DispatchId { n: first.n + by, ..first }
}

pub(crate) async fn fire(world: &World, now: Timestamp, dispatch: DispatchId) -> Result<Claimed, Unclaimed> {
    fire_with(world, now, dispatch, None).await
}

async fn fire_with(
    world: &World,
    now: Timestamp,
    dispatch: DispatchId,
    limit: Option<TargetLimit>,
) -> Result<Claimed, Unclaimed> {
    let fire = Fire { dispatch, lease: LEASE, limit };
    world.processes.next().fire(now, &[fire]).await.expect("fired").remove(0)
}

async fn status(world: &World, id: DispatchId) -> (DispatchStatus, Option<String>) {
    let dispatch = world.dispatch(id).await;
    (dispatch.status, dispatch.reason)
}

async fn counted(world: &World, status: DispatchStatus) -> i64 {
    world.counted(Dimension::Status, status.as_str()).await
}

async fn a_fallback_waits_without_a_token_and_counts_nowhere(world: World) {
    let first = world.accept_one(T0, longer(&world, T0)).await.expect("accepted").dispatch;
    let all = world.timeline(first.verification).await.dispatches;
    let shown: Vec<_> = all.iter().map(|one| (one.id.n, one.channel, one.status, one.charge, one.newest)).collect();
    use DispatchStatus::{Queued, Waiting};
    assert_eq!(
        shown,
        [
            (1, Channel::Sms, Queued, Charge::Reserved, true),
            (2, Channel::Whatsapp, Waiting, Charge::Untaken, false),
            (3, Channel::Email, Waiting, Charge::Untaken, false),
        ]
    );
    let fallback = |s, after| Fallback { first: 1, after: Duration::from_secs(after), at: at(s), fired: None };
    assert_eq!(
        [all[0].fallback, all[1].fallback, all[2].fallback],
        [None, Some(fallback(20, 20)), Some(fallback(50, 30))]
    );
    let mut due: Vec<_> = world.due().await.into_iter().map(|due| (due.dispatch.n, due.at, due.deadline)).collect();
    due.sort_unstable();
    assert_eq!(due, [(1, at(5), at(280)), (2, at(20), at(280)), (3, at(50), at(280))]);
    assert_eq!((world.tokens_used().await, counted(&world, Queued).await, counted(&world, Waiting).await), (1, 1, 0));
    assert_eq!(world.verification(first.verification).await.sends, 1);
    let waiting = world.store.list_dispatches(&[Waiting], 10).await.expect("listed");
    assert_eq!(waiting.len(), 2);
}

async fn it_goes_out_when_its_time_has_come(world: World) {
    let first = sent(&world, request(&world, T0), "m1").await;
    let second = after(first, 1);
    assert_eq!(world.relay(at(19), 10).await, []);
    assert_eq!(world.relay(at(20), 10).await, [DueJob { attempt: attempt(second, 1), deadline: at(280) }]);
    assert_eq!(world.claim(at(20), second, 1).await.expect_err("fired, not claimed"), Unclaimed::Waiting);
    let claimed = fire(&world, at(21), second).await.expect("its turn");
    assert_eq!((claimed.attempt(), claimed.dispatch.lease), (attempt(second, 1), Some(at(21) + LEASE)));
    let fallback = world.dispatch(second).await.fallback.expect("a fallback");
    assert_eq!((fallback.at, fallback.fired), (at(21), Some(Fired::NotDelivered)));
    assert_eq!((world.tokens_used().await, counted(&world, DispatchStatus::Sending).await), (2, 1));
    assert_eq!(counted(&world, DispatchStatus::Sent).await, 0, "the newest counts alone");
    world.finish(at(22), taken(at(22), claimed.attempt(), "m2")).await;
    assert_eq!((world.tokens_used().await, world.due().await.len()), (2, 0));
    let page = Page { before: None, offset: 0, limit: 10 };
    let listed = world.store.list_records(&world.filter(), page).await.expect("records");
    assert_eq!((listed.len(), listed[0].dispatch.id), (1, second));
    world.receive(receipt(at(23), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!((counted(&world, DispatchStatus::Sent).await, counted(&world, DispatchStatus::Delivered).await), (1, 0));
}

async fn its_time_is_not_before_what_it_was_given(world: World) {
    let first = sent(&world, longer(&world, T0), "m1").await;
    let second = after(first, 1);
    assert_eq!(fire(&world, at(19), second).await.expect_err("too early"), Unclaimed::Waiting);
    assert_eq!(fire(&world, at(60), after(first, 2)).await.expect_err("the one before has not"), Unclaimed::Waiting);
    let due = world.due().await;
    let of = |n| due.iter().find(|due| due.dispatch.n == n).map(|due| due.at);
    assert_eq!((of(2), of(3)), (Some(at(20)), Some(at(65))), "both are looked at again");
    assert_eq!(world.tokens_used().await, 1);
}

/// As after an outage: nothing is passed over, and nothing comes in a heap.
async fn its_time_counts_from_when_the_one_before_went_out(world: World) {
    let first = world.accept_one(T0, longer(&world, T0)).await.expect("accepted").dispatch;
    let (second, third) = (after(first, 1), after(first, 2));
    assert_eq!(fire(&world, at(90), second).await.expect_err("nobody has tried the first"), Unclaimed::Waiting);
    let times = async || {
        let mut due: Vec<_> = world.due().await.into_iter().map(|due| (due.dispatch.n, due.at)).collect();
        due.sort_unstable();
        let of = |dispatch: common::otp::rows::Dispatch| dispatch.fallback.map(|fallback| fallback.at);
        let written = [of(world.dispatch(second).await), of(world.dispatch(third).await)].map(|at| at.expect("a time"));
        assert_eq!(written, [2, 3].map(|n| due.iter().find(|due| due.0 == n).expect("due").1), "as it is shown");
        written
    };
    assert_eq!(times().await, [at(95), at(125)]);
    let held = world.claimed(at(91), first, 1).await;
    assert_eq!(fire(&world, at(95), second).await.expect_err("the first is on its way"), Unclaimed::Waiting);
    assert_eq!(times().await, [at(111), at(141)]);
    world.finish(at(99), taken(at(99), held, "m1")).await;
    assert_eq!(times().await, [at(119), at(149)]);
    assert_eq!(fire(&world, at(118), second).await.expect_err("too early"), Unclaimed::Waiting);
    let claimed = fire(&world, at(119), second).await.expect("its turn");
    world.finish(at(121), taken(at(121), claimed.attempt(), "m2")).await;
    // Receipts do not move it any more, and a late word of the first is not about the third.
    world.receive(receipt(at(122), "m2", ReceiptStatus::Sent)).await;
    assert_eq!(world.dispatch(third).await.fallback.map(|fallback| fallback.at), Some(at(151)));
    fire(&world, at(151), third).await.expect("its turn");
}

async fn a_failure_makes_the_next_one_due_at_once(world: World) {
    let first = world.accept_one(T0, longer(&world, T0)).await.expect("accepted").dispatch;
    let second = after(first, 1);
    let held = world.claimed(T0, first, 1).await;
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "rejected".to_owned() };
    let finished = world.finish(at(1), failed(at(1), held, Cause::Rejected, next)).await;
    assert!(matches!(finished, Finished::Current { fallback: Some(id), .. } if id == second), "{finished:?}");
    assert_eq!(world.tokens_used().await, 0);
    let due = Due { dispatch: second, at: at(1), deadline: at(280), published: 0 };
    assert!(world.due().await.contains(&due));
    assert_eq!(world.dispatch(second).await.fallback.map(|fallback| fallback.at), Some(at(1)));
    let fired = fire(&world, at(1), second).await.expect("its turn").dispatch;
    assert_eq!(fired.fallback.and_then(|fallback| fallback.fired), Some(Fired::Failed));
    assert_eq!((world.tokens_used().await, counted(&world, DispatchStatus::Failed).await), (1, 0));
}

async fn what_did_not_arrive_makes_the_next_one_due_at_once(world: World) {
    let first = sent(&world, request(&world, T0), "m1").await;
    let second = after(first, 1);
    world.receive(receipt(at(3), "m1", ReceiptStatus::Undelivered)).await;
    assert_eq!(world.relay(at(3), 10).await, [DueJob { attempt: attempt(second, 1), deadline: at(280) }]);
    let fired = fire(&world, at(3), second).await.expect("its turn").dispatch;
    assert_eq!(fired.fallback.and_then(|fallback| fallback.fired), Some(Fired::Undelivered));
    assert_eq!(world.tokens_used().await, 2, "both were handed over, or may be");
}

async fn an_attempt_that_nobody_answers_for_makes_the_next_one_due(world: World) {
    let mut request = request(&world, T0);
    request.fallbacks[0].after = Duration::from_secs(100);
    let first = world.accept_one(T0, request).await.expect("accepted").dispatch;
    for (n, now) in [(1, 0), (2, 20)] {
        world.claimed(at(now), first, n).await;
        world.relay(at(now + 15), 10).await;
    }
    assert_eq!(status(&world, first).await, (DispatchStatus::Failed, Some("no answer".to_owned())));
    let jobs = world.relay(at(36), 10).await;
    assert_eq!(jobs, [DueJob { attempt: attempt(after(first, 1), 1), deadline: at(280) }]);
}

async fn those_behind_are_given_their_time_from_when_one_goes_out(world: World) {
    let first = sent(&world, longer(&world, T0), "m1").await;
    fire(&world, at(100), after(first, 1)).await.expect("late, but its turn");
    let third = world.dispatch(after(first, 2)).await;
    assert_eq!(third.fallback.map(|fallback| fallback.at), Some(at(130)));
    assert_eq!(fire(&world, at(129), third.id).await.expect_err("too early"), Unclaimed::Waiting);
    fire(&world, at(130), third.id).await.expect("its turn");
}

async fn what_no_provider_took_is_replaced_and_its_token_goes_over(world: World) {
    let world = world.with_tokens(1).await;
    let first = world.accept_one(T0, request(&world, T0)).await.expect("accepted").dispatch;
    let held = world.claimed(T0, first, 1).await;
    world.finish(at(1), failed(at(1), held, Cause::Unavailable, Next::Retry { at: at(45) })).await;
    fire(&world, at(20), after(first, 1)).await.expect("its turn, with the token of the first");
    assert_eq!(status(&world, first).await, (DispatchStatus::Expired, Some("replaced by its fallback".to_owned())));
    assert_eq!((world.dispatch(first).await.charge, world.tokens_used().await), (Charge::Returned, 1));
    assert_eq!(world.claim(at(45), first, 2).await.expect_err("over"), Unclaimed::Taken);
    let counts = (counted(&world, DispatchStatus::Sending).await, counted(&world, DispatchStatus::Expired).await);
    assert_eq!(counts, (1, 0));
}

async fn of_many_at_once_one_fires(world: World) {
    let first = sent(&world, request(&world, T0), "m1").await;
    let fired = join_all((0..8).map(|_| fire(&world, at(20), after(first, 1)))).await;
    assert_eq!(fired.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(fired.iter().all(|answer| matches!(answer, Ok(_) | Err(Unclaimed::Taken))), "{fired:?}");
    assert_eq!(world.tokens_used().await, 2);
}

fn hourly(burst: u32) -> TargetLimit {
    let hour = Window::new(burst, Duration::from_secs(3600));
    TargetLimit { key: only([7; 16]), windows: [None, Some(hour), None] }
}

async fn a_limited_target_gets_nothing_and_the_next_one_has_its_turn(world: World) {
    let mut ids = Vec::new();
    for record in ["a", "b"] {
        let mut request = longer(&world, T0);
        record.clone_into(&mut request.candidate.record);
        ids.push(sent(&world, request, record).await);
    }
    let limited = |id| fire_with(&world, at(20), after(id, 1), Some(hourly(1)));
    limited(ids[0]).await.expect("the first in this hour");
    assert_eq!(limited(ids[1]).await.expect_err("the second"), Unclaimed::Over);
    let ended = world.dispatch(after(ids[1], 1)).await;
    assert_eq!((ended.status, ended.reason.as_deref()), (DispatchStatus::Failed, Some("target limited")));
    assert_eq!((ended.charge, ended.newest, world.tokens_used().await), (Charge::Untaken, false, 3));
    let times = world.begin().await.lock_limits(&[[7; 16]]).await.expect("limits")[&[7; 16]];
    assert_eq!(times, [Timestamp::default(), at(20 + 3600), Timestamp::default()], "the cooldown is left alone");
    let due = Due { dispatch: after(ids[1], 2), at: at(20), deadline: at(280), published: 0 };
    assert!(world.due().await.contains(&due));
    let third = fire(&world, at(20), after(ids[1], 2)).await.expect("its turn at once").dispatch;
    assert_eq!(third.fallback.and_then(|fallback| fallback.fired), Some(Fired::Failed));
    assert_eq!(counted(&world, DispatchStatus::Failed).await, 0);
}

async fn without_a_token_nothing_goes_out(world: World) {
    let world = world.with_tokens(1).await;
    let first = sent(&world, request(&world, T0), "m1").await;
    let limit = Some(hourly(1));
    assert_eq!(fire_with(&world, at(20), after(first, 1), limit).await.expect_err("no token"), Unclaimed::Over);
    let why = (DispatchStatus::Failed, Some("insufficient tokens".to_owned()));
    assert_eq!((status(&world, after(first, 1)).await, world.tokens_used().await), (why, 1));
    assert!(world.begin().await.lock_limits(&[[7; 16]]).await.expect("limits").is_empty(), "nothing is counted");
    assert_eq!((world.due().await, counted(&world, DispatchStatus::Sent).await), (vec![], 1));
}

async fn a_target_of_its_own_is_kept_sealed(world: World) {
    let mut request = request(&world, T0);
    let own =
        OwnTarget { sealed: Sealed(vec![1, 2, 3]), sealed_as: request.candidate.id, country: Some("AT".to_owned()) };
    request.fallbacks[0].target = Some(own.clone());
    let first = sent(&world, request, "m1").await;
    assert_eq!(world.dispatch(after(first, 1)).await.target, Some(own.clone()));
    let claimed = fire(&world, at(20), after(first, 1)).await.expect("its turn");
    assert_eq!((claimed.dispatch.target, world.dispatch(first).await.target), (Some(own), None));
}

async fn who_asks_again_begins_anew(world: World) {
    let first = sent(&world, request(&world, T0), "m1").await;
    let again = world.accept_one(at(10), request(&world, at(10))).await.expect("accepted").dispatch;
    assert_eq!((again.verification, again.n), (first.verification, 3));
    assert_eq!(status(&world, after(first, 1)).await, (DispatchStatus::Expired, Some("sent again".to_owned())));
    assert_eq!(world.verification(first.verification).await.sends, 2);
    assert_eq!(fire(&world, at(20), after(first, 1)).await.expect_err("over"), Unclaimed::Taken);
    assert_eq!(fire(&world, at(29), after(again, 1)).await.expect_err("too early"), Unclaimed::Waiting);
    // What the first send was about says nothing of the second.
    world.receive(receipt(at(29), "m1", ReceiptStatus::Delivered)).await;
    let held = world.claimed(at(29), again, 1).await;
    world.finish(at(29), taken(at(29), held, "m2")).await;
    fire(&world, at(49), after(again, 1)).await.expect("its turn");
    assert_eq!(world.tokens_used().await, 3);
}
