//! Guesses: none is answered before it is counted, never more than there are, and one right one wins.

use std::time::Duration;

use common::otp::accept::Refusal;
use common::otp::channel::Mode;
use common::otp::guess::{Guess, Reason, Verdict};
use common::otp::rows::{Charge, LimitName, State};
use common::otp::status::DispatchStatus;
use futures_util::future::join_all;

use crate::world::{ANN, BOB, CODE, T0, WRONG, World, at, hourly};

crate::scenarios! {
    the_right_code_verifies_closes_and_erases,
    a_thousand_concurrent_guesses_cost_five_compares,
    of_two_hundred_right_answers_at_once_one_wins,
    a_right_guess_among_wrong_ones_of_a_batch_wins_if_it_comes_in_time,
    the_fifth_wrong_guess_locks_and_ends_what_waits,
    a_locked_verification_leaves_a_held_dispatch_to_its_worker,
    closed_verifications_say_why,
    carried_guesses_return_when_the_old_life_ends,
    using_up_carried_guesses_locks_nothing,
    a_live_key_means_the_live_verification_first,
    wrong_guesses_use_up_their_limits_and_right_ones_do_not,
    wrong_guesses_of_one_batch_count_together,
    limits_of_the_same_subject_add_up_across_verifications,
}

fn limited(guess: Guess, key: u8, burst: u32) -> Guess {
    Guess { limits: vec![hourly(LimitName::Target, key, burst)], ..guess }
}

fn refused(verdict: &Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Refused { reason, .. } => Some(*reason),
        _ => None,
    }
}

async fn the_right_code_verifies_closes_and_erases(world: World) {
    let id = world.sent(T0, ANN, "m1").await.verification;
    let verdict = world.verify_one(at(9), world.guess(ANN, CODE)).await;
    let Verdict::Verified { verification, at: when, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!((verification.id, when), (id, at(9)));
    assert_eq!(*verification, world.verification(id).await);
    assert_eq!((verification.state, verification.closed), (State::Verified, Some(at(9))));
    assert_eq!((verification.code.is_none(), verification.guesses), (true, 1));
}

async fn a_thousand_concurrent_guesses_cost_five_compares(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let batches: Vec<_> = (0..40).map(|_| vec![world.guess(ANN, WRONG); 25]).collect();
    let verdicts = join_all(batches.iter().map(|batch| world.verify(at(1), batch))).await;
    let verdicts: Vec<_> = verdicts.into_iter().flatten().collect();
    let mut left: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Wrong { left, .. } => Some(*left),
            _ => None,
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4]);
    assert_eq!(verdicts.iter().filter(|verdict| refused(verdict) == Some(Reason::TooMany)).count(), 995);
    assert_eq!(world.verification(id).await.guesses, 5);
}

async fn of_two_hundred_right_answers_at_once_one_wins(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let guesses: Vec<_> = (0..200).map(|_| [world.guess(ANN, CODE)]).collect();
    let verdicts = join_all(guesses.iter().map(|guess| world.verify(at(1), guess))).await;
    let won = verdicts.iter().flatten().filter(|verdict| matches!(verdict, Verdict::Verified { .. })).count();
    let used = verdicts.iter().flatten().filter(|verdict| refused(verdict) == Some(Reason::Used)).count();
    assert_eq!((won, used), (1, 199));
    assert_eq!(world.verification(id).await.guesses, 1);
}

async fn a_right_guess_among_wrong_ones_of_a_batch_wins_if_it_comes_in_time(world: World) {
    let codes = [WRONG, WRONG, CODE, WRONG];
    world.send(T0, ANN).await;
    let verdicts = world.verify(at(1), &codes.map(|code| world.guess(ANN, code))).await;
    assert!(matches!(verdicts[1], Verdict::Wrong { left: 3, .. }), "{verdicts:?}");
    assert!(matches!(verdicts[2], Verdict::Verified { .. }), "{verdicts:?}");
    assert_eq!(refused(&verdicts[3]), Some(Reason::Used));
    world.send(T0, BOB).await;
    let late = [WRONG, WRONG, WRONG, WRONG, WRONG, CODE].map(|code| world.guess(BOB, code));
    let verdicts = world.verify(at(1), &late).await;
    assert_eq!(refused(&verdicts[5]), Some(Reason::TooMany), "{verdicts:?}");
}

async fn the_fifth_wrong_guess_locks_and_ends_what_waits(world: World) {
    let id = world.send(T0, ANN).await;
    world.guess_wrong(at(1), ANN, 4).await;
    let fifth = world.verify_one(at(1), world.guess(ANN, WRONG)).await;
    assert_eq!(fifth, Verdict::Wrong { verification: id.verification, left: 0 });
    let sixth = world.verify_one(at(1), world.guess(ANN, CODE)).await;
    assert_eq!(refused(&sixth), Some(Reason::TooMany));
    let locked = world.verification(id.verification).await;
    assert_eq!((locked.state, locked.code, locked.guesses), (State::Open, None, 5));
    let ended = world.dispatch(id).await;
    assert_eq!((ended.status, ended.reason.as_deref()), (DispatchStatus::Expired, Some("too many attempts")));
    assert_eq!((ended.charge, world.tokens_used().await, world.due().await.len()), (Charge::Returned, 0, 0));
}

async fn a_locked_verification_leaves_a_held_dispatch_to_its_worker(world: World) {
    let id = world.send(T0, ANN).await;
    world.claimed(T0, id, 1).await;
    world.guess_wrong(at(1), ANN, 5).await;
    let held = world.dispatch(id).await;
    assert_eq!((held.status, held.charge), (DispatchStatus::Sending, Charge::Reserved));
}

async fn closed_verifications_say_why(world: World) {
    let answer = async |now, target: &str| refused(&world.verify_one(now, world.guess(target, CODE)).await);
    assert_eq!(answer(T0, ANN).await, Some(Reason::NotFound));
    let id = world.send(T0, ANN).await.verification;
    assert_eq!(answer(at(300), ANN).await, Some(Reason::Expired));
    world.store.cancel(T0, world.id(), Mode::Live.visible(), Some(id), "").await.expect("canceled");
    assert_eq!(answer(at(1), ANN).await, Some(Reason::Canceled));
    world.send(T0, BOB).await;
    assert_eq!(answer(at(299), BOB).await, None, "until its last moment");
    assert_eq!(answer(at(299), BOB).await, Some(Reason::Used));
}

async fn carried_guesses_return_when_the_old_life_ends(world: World) {
    world.send(T0, ANN).await;
    world.guess_wrong(at(1), ANN, 4).await;
    world.send(at(250), ANN).await;
    world.guess_wrong(at(260), ANN, 1).await;
    assert_eq!(refused(&world.verify_one(at(299), world.guess(ANN, CODE)).await), Some(Reason::TooMany));
    let wrong = world.verify_one(at(300), world.guess(ANN, WRONG)).await;
    assert!(matches!(wrong, Verdict::Wrong { left: 3, .. }), "{wrong:?}");
    assert!(matches!(world.verify_one(at(301), world.guess(ANN, CODE)).await, Verdict::Verified { .. }));
}

async fn using_up_carried_guesses_locks_nothing(world: World) {
    world.send(T0, ANN).await;
    world.guess_wrong(at(1), ANN, 4).await;
    let second = world.send(at(250), ANN).await;
    world.guess_wrong(at(260), ANN, 1).await;
    let refused = world.accept_one(at(285), world.request(at(285), ANN).0).await;
    assert_eq!(refused, Err(Refusal::TooManyAttempts { retry_after: Duration::from_secs(15) }));
    assert!(world.verification(second.verification).await.code.is_some(), "its code still goes out");
    world.claimed(at(286), second, 1).await;
}

async fn a_live_key_means_the_live_verification_first(world: World) {
    let live = world.send(T0, ANN).await;
    world.accept_one(at(1), world.request(at(1), ANN).sandbox().0).await.expect("accepted");
    let verdict = world.verify_one(at(2), world.guess(ANN, CODE)).await;
    assert!(matches!(&verdict, Verdict::Verified { verification, .. } if verification.id == live.verification));
}

async fn wrong_guesses_use_up_their_limits_and_right_ones_do_not(world: World) {
    world.send(T0, ANN).await;
    world.send(T0, BOB).await;
    for code in [WRONG, WRONG] {
        let verdict = world.verify_one(at(1), limited(world.guess(ANN, code), 1, 2)).await;
        assert!(matches!(verdict, Verdict::Wrong { .. }), "{verdict:?}");
    }
    let verdict = world.verify_one(at(1), limited(world.guess(ANN, CODE), 1, 2)).await;
    assert!(matches!(verdict, Verdict::Limited { by: LimitName::Target, .. }), "{verdict:?}");
    let right = world.verify_one(at(1), limited(world.guess(BOB, CODE), 2, 1)).await;
    assert!(matches!(right, Verdict::Verified { .. }), "{right:?}");
    let limits = world.begin().await.read_limits(&[[1; 16], [2; 16]]).await.expect("limits");
    assert_eq!(limits.get(&[1; 16]).map(|times| times[0]), Some(at(1 + 3600)));
    assert!(!limits.contains_key(&[2; 16]));
}

async fn wrong_guesses_of_one_batch_count_together(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let verdicts = world.verify(at(1), &[(); 4].map(|()| limited(world.guess(ANN, WRONG), 1, 3))).await;
    assert!(verdicts[..3].iter().all(|verdict| matches!(verdict, Verdict::Wrong { .. })), "{verdicts:?}");
    assert!(matches!(verdicts[3], Verdict::Limited { .. }), "{verdicts:?}");
    assert_eq!(world.verification(id).await.guesses, 3);
}

async fn limits_of_the_same_subject_add_up_across_verifications(world: World) {
    let targets: Vec<_> = (0..8).map(|i| format!("{i}@example.com")).collect();
    for target in &targets {
        world.send(T0, target).await;
    }
    let guesses: Vec<_> = targets.iter().map(|target| [limited(world.guess(target, WRONG), 1, 3600)]).collect();
    join_all(guesses.iter().map(|guess| world.verify(at(1), guess))).await;
    let limits = world.begin().await.read_limits(&[[1; 16]]).await.expect("limits");
    assert_eq!(limits[&[1; 16]][0], at(1 + 8), "every event moved it by its second");
}
