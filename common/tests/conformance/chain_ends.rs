//! The ends of chains: once a code has arrived, or its verification has closed, nothing that waits goes out.

use common::otp::claim::Unclaimed;
use common::otp::finish::Next;
use common::otp::guess::Verdict;
use common::otp::ids::DispatchId;
use common::otp::provider_error::Cause;
use common::otp::retry::NotRetried;
use common::otp::rows::Charge;
use common::otp::status::{DispatchStatus, ReceiptStatus};
use common::otp::{chain, channel};

use crate::chain::{after, fire, planned, request, sent};
use crate::world::{ANN, CODE, LEASE, T0, World, at, attempt, failed, receipt, taken};

crate::scenarios! {
    what_has_arrived_needs_no_fallback,
    what_arrives_at_once_needs_none,
    a_receipt_that_was_parked_counts_too,
    a_late_report_ends_the_chain_as_well,
    a_closed_verification_fires_nothing,
    nothing_fires_past_the_deadline,
    what_a_verification_has_no_time_for_is_left_out,
    a_receipt_and_a_fire_at_once_agree,
    a_killed_worker_leaves_it_to_the_next,
    a_right_guess_says_where_the_code_went,
    what_was_offered_elsewhere_did_not_go_to_its_target_alone,
    what_has_not_gone_out_is_not_retried_by_hand,
    erasing_forgets_own_targets_too,
}

#[track_caller]
fn assert_ended(dispatch: &common::otp::rows::Dispatch, reason: &str) {
    assert_eq!((dispatch.status, dispatch.reason.as_deref()), (DispatchStatus::Expired, Some(reason)));
    assert_eq!((dispatch.charge, dispatch.newest, dispatch.attempt), (Charge::Untaken, false, 0));
}

async fn what_has_arrived_needs_no_fallback(world: World) {
    let mut request = request(&world, T0);
    request.fallbacks.push(planned(channel::Channel::Email, 30));
    let first = sent(&world, request, "m1").await;
    world.receive(receipt(at(19), "m1", ReceiptStatus::Delivered)).await;
    for by in [1, 2] {
        assert_ended(&world.dispatch(after(first, by)).await, "already delivered");
    }
    assert_eq!((world.due().await, world.tokens_used().await), (vec![], 1));
    assert_eq!(fire(&world, at(20), after(first, 1)).await.expect_err("over"), Unclaimed::Taken);
}

async fn what_arrives_at_once_needs_none(world: World) {
    let first = world.accept_one(T0, request(&world, T0)).await.expect("accepted").dispatch;
    let held = world.claimed(T0, first, 1).await;
    let mut finish = taken(T0, held, "m1");
    if let Some(Ok(handed)) = finish.call.as_mut().map(|call| call.outcome.as_mut()) {
        handed.delivered = true;
    }
    world.finish(T0, finish).await;
    assert_ended(&world.dispatch(after(first, 1)).await, "already delivered");
    assert_eq!((world.due().await, world.tokens_used().await), (vec![], 1));
}

async fn a_receipt_that_was_parked_counts_too(world: World) {
    let (one, two) = (request(&world, T0), {
        let mut other = request(&world, T0);
        "two".clone_into(&mut other.candidate.record);
        other
    });
    world.receive(receipt(T0, "m1", ReceiptStatus::Delivered)).await;
    world.receive(receipt(T0, "m2", ReceiptStatus::Undelivered)).await;
    let one = sent(&world, one, "m1").await;
    assert_ended(&world.dispatch(after(one, 1)).await, "already delivered");
    let two = sent(&world, two, "m2").await;
    assert_eq!(world.dispatch(two).await.status, DispatchStatus::Undelivered);
    let due = world.due().await;
    assert_eq!((due.len(), due[0].dispatch, due[0].at), (1, after(two, 1), T0));
}

async fn a_late_report_ends_the_chain_as_well(world: World) {
    let first = world.accept_one(T0, request(&world, T0)).await.expect("accepted").dispatch;
    let held = world.claimed(T0, first, 1).await;
    world.relay(at(16), 10).await;
    world.receive(receipt(at(17), "m1", ReceiptStatus::Delivered)).await;
    world.finish(at(18), taken(at(18), held, "m1")).await;
    assert_eq!(world.dispatch(first).await.status, DispatchStatus::Delivered);
    assert_ended(&world.dispatch(after(first, 1)).await, "already delivered");
}

async fn a_closed_verification_fires_nothing(world: World) {
    for (record, how) in [("v", "verified"), ("c", "canceled"), ("l", "too many attempts"), ("s", "superseded")] {
        let mut request = request(&world, T0);
        record.clone_into(&mut request.candidate.record);
        let first = sent(&world, request.clone(), record).await;
        let mut guess = world.guess(ANN, CODE);
        guess.record = Some(record.to_owned());
        match how {
            "verified" => {
                world.verify_one(at(1), guess).await;
            }
            "canceled" => {
                let modes = channel::Mode::Live.visible();
                world.store.cancel(at(1), world.id(), modes, Some(first.verification), "").await.expect("canceled");
            }
            "superseded" => {
                let mut own = self::request(&world, at(1));
                record.clone_into(&mut own.candidate.record);
                own.candidate.own_code = true;
                own.fallbacks.clear();
                world.accept_one(at(1), own).await.expect("accepted");
            }
            _ => {
                guess.code = common::otp::code::Code::parse(crate::world::WRONG).expect("a code");
                for _ in 0..5 {
                    world.verify_one(at(1), guess.clone()).await;
                }
            }
        }
        assert_ended(&world.dispatch(after(first, 1)).await, how);
        assert_eq!(fire(&world, at(20), after(first, 1)).await.expect_err("over"), Unclaimed::Taken, "{how}");
        assert!(world.due().await.iter().all(|due| due.dispatch != after(first, 1)), "{how}");
    }
    assert_eq!(world.tokens_used().await, 5, "those that were sent, and the one that superseded");
}

async fn nothing_fires_past_the_deadline(world: World) {
    let first = sent(&world, request(&world, T0), "m1").await;
    assert_eq!(fire(&world, at(280), after(first, 1)).await.expect_err("dead"), Unclaimed::Over);
    assert_ended(&world.dispatch(after(first, 1)).await, "expired");

    let mut request = request(&world, at(300));
    "late".clone_into(&mut request.candidate.record);
    request.fallbacks[0].after = std::time::Duration::from_secs(279);
    let first = world.accept_one(at(300), request).await.expect("accepted").dispatch;
    let held = world.claimed(at(310), first, 1).await;
    world.finish(at(310), taken(at(310), held, "m2")).await;
    let due = world.due().await;
    assert_eq!((due.len(), due[0].at), (1, at(580)), "no later than the deadline");
    assert_eq!(world.relay(at(580), 10).await, []);
    assert_ended(&world.dispatch(after(first, 1)).await, "expired");
    assert_eq!(world.tokens_used().await, 2);
}

async fn what_a_verification_has_no_time_for_is_left_out(world: World) {
    let chain = |now| {
        let mut request = request(&world, now);
        request.fallbacks = [100, 79, 100].map(|after| planned(channel::Channel::Whatsapp, after)).into();
        request
    };
    let first = sent(&world, chain(T0), "m1").await;
    let waits = async || {
        let all = world.timeline(first.verification).await.dispatches;
        let waiting = all.into_iter().filter(|one| one.status == DispatchStatus::Waiting);
        waiting.map(|one| (one.id.n, one.fallback.expect("a fallback").at)).collect::<Vec<_>>()
    };
    assert_eq!(waits().await, [(2, at(100)), (3, at(179)), (4, at(279))]);
    // What it is sent again for lives no longer than before: until 300 s, and is of use until 280 s.
    let again = world.accept_one(at(100), chain(at(100))).await.expect("accepted").dispatch;
    assert_eq!((again.verification, waits().await), (first.verification, vec![(6, at(200)), (7, at(279))]));
    let again = world.accept_one(at(101), chain(at(101))).await.expect("accepted").dispatch;
    assert_eq!((again.n, waits().await), (8, vec![(9, at(201))]));
    let again = world.accept_one(at(180), chain(at(180))).await.expect("accepted").dispatch;
    assert_eq!((again.n, waits().await), (10, vec![]));
}

async fn a_receipt_and_a_fire_at_once_agree(world: World) {
    let mut requests = Vec::new();
    for n in 0..12 {
        let mut request = request(&world, T0);
        request.candidate.record = n.to_string();
        requests.push(sent(&world, request, &n.to_string()).await);
    }
    let both = requests.iter().enumerate().map(|(n, first)| {
        let delivered = receipt(at(20), &n.to_string(), ReceiptStatus::Delivered);
        let world = &world;
        async move { tokio::join!(world.receive(delivered), fire(world, at(20), after(*first, 1))).1 }
    });
    let fired = futures_util::future::join_all(both).await;
    let mut out = 0;
    for (first, fired) in requests.iter().zip(&fired) {
        let dispatch = world.dispatch(after(*first, 1)).await;
        match fired {
            Ok(_) => out += 1,
            Err(_) => assert_ended(&dispatch, "already delivered"),
        }
        assert_eq!(dispatch.status == DispatchStatus::Sending, fired.is_ok());
    }
    assert_eq!(world.tokens_used().await, 12 + out);
}

async fn a_killed_worker_leaves_it_to_the_next(world: World) {
    let first = sent(&world, request(&world, T0), "m1").await;
    let second = after(first, 1);
    assert_eq!(world.relay(at(20), 10).await.len(), 1);
    // Nobody takes the job: it is brought again.
    assert_eq!(world.relay(at(30), 10).await.len(), 1);
    fire(&world, at(30), second).await.expect("its turn");
    // Who took it is gone.
    assert_eq!(
        world.relay(at(30) + LEASE, 10).await.iter().map(|job| job.attempt).collect::<Vec<_>>(),
        [attempt(second, 2)]
    );
    world.claimed(at(46), second, 2).await;
    assert_eq!(world.tokens_used().await, 2);
}

async fn gone_to(world: &World, record: &str) -> Vec<(i16, bool)> {
    let mut guess = world.guess(ANN, CODE);
    guess.record = Some(record.to_owned());
    let Verdict::Verified { dispatches, .. } = world.verify_one(at(25), guess).await else {
        panic!("{record} was not right")
    };
    chain::gone(&dispatches).iter().map(|one| (one.id.n, one.target.is_some())).collect()
}

async fn a_right_guess_says_where_the_code_went(world: World) {
    let with_own = |record: &str| {
        let mut request = request(&world, T0);
        record.clone_into(&mut request.candidate.record);
        let sealed = common::otp::rows::Sealed(vec![1]);
        let own = chain::OwnTarget { sealed, sealed_as: request.candidate.id, country: None };
        request.fallbacks[0].target = Some(own);
        request
    };
    sent(&world, with_own("unneeded"), "m1").await;
    assert_eq!(gone_to(&world, "unneeded").await, [(1, false)]);

    let both = sent(&world, with_own("both"), "m2").await;
    fire(&world, at(20), after(both, 1)).await.expect("its turn");
    assert_eq!(gone_to(&world, "both").await, [(1, false), (2, true)], "on the wire is as good as gone");

    let refused = refused(&world, with_own("refused"), Cause::Rejected).await;
    fire(&world, at(20), after(refused, 1)).await.expect("its turn");
    assert_eq!(gone_to(&world, "refused").await, [(2, true)]);

    let unknown = refused_by_silence(&world, with_own("unknown")).await;
    fire(&world, at(20), after(unknown, 1)).await.expect("its turn");
    assert_eq!(gone_to(&world, "unknown").await, [(1, false), (2, true)], "nobody knows that it did not arrive");
}

async fn what_was_offered_elsewhere_did_not_go_to_its_target_alone(world: World) {
    let later = || Next::Retry { at: at(60) };
    for (record, cause, alone) in [
        ("waits", None, true),
        ("uncalled", Some(None), true),
        ("rejected", Some(Some(Cause::Rejected)), false),
        ("unavailable", Some(Some(Cause::Unavailable)), false),
        ("silent", Some(Some(Cause::Ambiguous)), false),
    ] {
        let mut request = request(&world, T0);
        record.clone_into(&mut request.candidate.record);
        let sealed = common::otp::rows::Sealed(vec![1]);
        request.fallbacks[0].target = Some(chain::OwnTarget { sealed, sealed_as: request.candidate.id, country: None });
        let first = sent(&world, request, record).await;
        if let Some(cause) = cause {
            let held = fire(&world, at(20), after(first, 1)).await.expect("its turn").attempt();
            let called = cause.is_some();
            let mut finish = failed(at(20), held, cause.unwrap_or(Cause::Unavailable), later());
            finish.call = finish.call.filter(|_| called);
            world.finish(at(20), finish).await;
        }
        let mut guess = world.guess(ANN, CODE);
        guess.record = Some(record.to_owned());
        let Verdict::Verified { dispatches, .. } = world.verify_one(at(25), guess).await else {
            panic!("{record} was not right")
        };
        assert_eq!(chain::went_to_target_alone(&dispatches), alone, "{record}");
    }
}

async fn refused(world: &World, request: common::otp::accept::Accept, cause: Cause) -> DispatchId {
    let first = world.accept_one(T0, request).await.expect("accepted").dispatch;
    let held = world.claimed(T0, first, 1).await;
    let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "no".to_owned() };
    world.finish(T0, failed(T0, held, cause, next)).await;
    first
}

async fn refused_by_silence(world: &World, request: common::otp::accept::Accept) -> DispatchId {
    refused(world, request, Cause::Ambiguous).await
}

async fn what_has_not_gone_out_is_not_retried_by_hand(world: World) {
    let first = sent(&world, request(&world, T0), "m1").await;
    let second = after(first, 1);
    let retry = async || world.store.retry(at(9), second).await.expect("an answer");
    assert_eq!(retry().await, Err(NotRetried::Fallback));
    world.receive(receipt(at(9), "m1", ReceiptStatus::Delivered)).await;
    assert_eq!(retry().await, Err(NotRetried::Fallback));

    // That somebody may have its code is not forgotten by trying again.
    let mut request = request(&world, T0);
    "silent".clone_into(&mut request.candidate.record);
    let silent = refused_by_silence(&world, request).await;
    assert_eq!(world.store.retry(at(9), silent).await.expect("an answer"), Ok(()));
    assert!(world.dispatch(silent).await.may_have_arrived());
}

async fn erasing_forgets_own_targets_too(world: World) {
    let mut request = request(&world, T0);
    let sealed = common::otp::rows::Sealed(vec![1]);
    request.fallbacks[0].target = Some(chain::OwnTarget { sealed, sealed_as: request.candidate.id, country: None });
    let first = sent(&world, request, "m1").await;
    let mut guess = world.guess(ANN, CODE);
    guess.erase = true;
    world.verify_one(at(1), guess).await;
    let own = world.dispatch(after(first, 1)).await.target.expect("it had one");
    assert!(own.sealed.0.is_empty());
}
