//! Sends: what an accepted one writes, and that a refused one writes nothing.

use std::time::Duration;

use common::otp::accept::Refusal;
use common::otp::channel::Mode;
use common::otp::rows::{CarriedGuesses, Charge, Due, Indexes, LimitName, State};
use common::otp::status::DispatchStatus;
use common::store::StoreError;
use futures_util::future::join_all;

use crate::world::{ANN, BOB, CODE, T0, World, at, hourly, only};

crate::scenarios! {
    a_send_is_kept_as_it_came_queued_and_due_in_five_seconds,
    a_second_send_within_the_cooldown_is_refused,
    a_later_send_sends_the_same_code_again,
    a_send_of_the_other_mode_or_record_opens_another_verification,
    a_send_near_the_end_supersedes_and_carries_the_guesses_left,
    a_project_may_want_a_new_code_for_each_send,
    a_locked_verification_takes_no_send_until_it_expires,
    a_verification_is_sent_so_often_and_no_more,
    an_expired_verification_is_not_carried_on,
    tokens_are_exact_within_a_batch,
    tokens_are_exact_across_concurrent_batches,
    a_refused_send_leaves_every_row_as_it_was,
    the_projects_rate_refuses_what_is_too_much,
    of_concurrent_sends_to_one_target_one_is_accepted,
    sends_to_one_target_in_one_batch_share_a_verification,
    concurrent_sends_to_one_target_share_a_verification,
    rows_under_an_older_key_still_count,
    a_batch_with_one_bad_item_is_refused_whole,
}

async fn a_send_is_kept_as_it_came_queued_and_due_in_five_seconds(world: World) {
    let mut phone = world.request(T0, ANN).record("order 'Ω' \"7\"").0;
    phone.candidate.session = true;
    phone.candidate.key_id = -5;
    let mail = world.request(T0, BOB).sandbox().0;
    let answers = world.accept(T0, &[phone.clone(), mail.clone()]).await;
    for (request, answer) in [phone, mail].into_iter().zip(answers) {
        let accepted = answer.expect("accepted");
        assert_eq!((accepted.expires_in, accepted.replayed), (300, false));
        assert_eq!(accepted.standing.expect("the project's").limit, 5000);
        let timeline = world.timeline(accepted.dispatch.verification).await;
        assert_eq!(timeline.verification, request.candidate);
        let dispatch = world.dispatch(accepted.dispatch).await;
        assert_eq!((dispatch.status, dispatch.attempt), (DispatchStatus::Queued, 0));
        assert_eq!((dispatch.charge, dispatch.newest, dispatch.created), (Charge::Reserved, true, T0));
        let due = Due { dispatch: accepted.dispatch, at: at(5), deadline: at(280), published: 0 };
        assert!(world.due().await.contains(&due));
    }
    assert_eq!(world.tokens_used().await, 2);
}

async fn a_second_send_within_the_cooldown_is_refused(world: World) {
    let mut request = world.request(T0, ANN).limit(hourly(LimitName::Target, 1, 5));
    request.0.limits[0].windows = world.project.settings.target_windows().to_vec();
    world.accept_one(T0, request.clone().0).await.expect("accepted");
    let second = world.accept_one(at(10), request.clone().0).await;
    let Err(Refusal::Limited { by: LimitName::Target, exhausted }) = second else { panic!("{second:?}") };
    assert_eq!(exhausted.retry_after, Duration::from_secs(20));
    world.accept_one(at(30), request.0).await.expect("accepted again");
}

async fn a_later_send_sends_the_same_code_again(world: World) {
    let first = world.send(T0, ANN).await;
    let second = world.accept_one(at(30), world.request(at(30), ANN).0).await.expect("accepted");
    assert_eq!((second.dispatch.verification, second.dispatch.n), (first.verification, 2));
    assert_eq!(second.expires_in, 270);
    assert_eq!(world.verification(first.verification).await.sends, 2);
    assert!(!world.dispatch(first).await.newest && world.dispatch(second.dispatch).await.newest);
    let verdict = world.verify_one(at(40), world.guess(ANN, CODE)).await;
    assert!(matches!(verdict, common::otp::guess::Verdict::Verified { .. }), "{verdict:?}");
}

async fn a_send_of_the_other_mode_or_record_opens_another_verification(world: World) {
    let first = world.send(T0, ANN).await;
    let sandbox = world.accept_one(T0, world.request(T0, ANN).sandbox().0).await.expect("accepted");
    let record = world.accept_one(T0, world.request(T0, ANN).record("a").0).await.expect("accepted");
    assert!([sandbox.dispatch, record.dispatch].iter().all(|other| other.verification != first.verification));
    assert_eq!(world.verification(sandbox.dispatch.verification).await.mode, Mode::Sandbox);
    assert_eq!(world.verification(first.verification).await.state, State::Open);
}

async fn a_send_near_the_end_supersedes_and_carries_the_guesses_left(world: World) {
    let first = world.send(T0, ANN).await;
    world.guess_wrong(at(1), ANN, 2).await;
    let second = world.send(at(250), ANN).await;
    assert_ne!(second.verification, first.verification);
    let old = world.verification(first.verification).await;
    assert_eq!((old.state, old.closed, old.code), (State::Superseded, Some(at(250)), None));
    let ended = world.dispatch(first).await;
    assert_eq!((ended.status, ended.reason.as_deref()), (DispatchStatus::Expired, Some("superseded")));
    assert_eq!(world.tokens_used().await, 1, "the token of what was not sent came back");
    assert_eq!(world.due().await.len(), 1);
    let new = world.verification(second.verification).await;
    assert_eq!(new.carried, Some(CarriedGuesses { left: 3, until: at(300) }));
    world.guess_wrong(at(260), ANN, 10).await;
    assert_eq!(world.verification(second.verification).await.guesses, 3);
}

async fn a_project_may_want_a_new_code_for_each_send(world: World) {
    let first = world.send(T0, ANN).await;
    let request = world.request(at(30), ANN).settings(|settings| settings.new_code_on_resend = true);
    let second = world.accept_one(at(30), request.0).await.expect("accepted");
    assert_ne!(second.dispatch.verification, first.verification);
    assert_eq!(world.verification(first.verification).await.state, State::Superseded);
}

async fn a_locked_verification_takes_no_send_until_it_expires(world: World) {
    world.send(T0, ANN).await;
    world.guess_wrong(at(1), ANN, 5).await;
    let refused = world.accept_one(at(290), world.request(at(290), ANN).0).await;
    assert_eq!(refused, Err(Refusal::TooManyAttempts { retry_after: Duration::from_secs(10) }));
    world.send(at(300), ANN).await;
}

async fn a_verification_is_sent_so_often_and_no_more(world: World) {
    let twice = |now| world.request(now, ANN).settings(|settings| settings.sends = 2).0;
    world.accept_one(T0, twice(T0)).await.expect("first");
    world.accept_one(at(30), twice(at(30))).await.expect("second");
    let third = world.accept_one(at(60), twice(at(60))).await;
    assert_eq!(third, Err(Refusal::TooManySends { retry_after: Duration::from_secs(240) }));
}

async fn an_expired_verification_is_not_carried_on(world: World) {
    let first = world.send(T0, ANN).await;
    let second = world.send(at(300), ANN).await;
    assert_eq!(world.verification(second.verification).await.carried, None);
    assert_eq!(world.verification(first.verification).await.state, State::Open, "its time says that it is over");
}

async fn tokens_are_exact_within_a_batch(world: World) {
    let world = world.with_tokens(3).await;
    let batch: Vec<_> = (0..5).map(|i| world.request(T0, &format!("{i}@example.com")).0).collect();
    let answers = world.accept(T0, &batch).await;
    assert!(answers[..3].iter().all(Result::is_ok), "{answers:?}");
    assert!(answers[3..].iter().all(|answer| *answer == Err(Refusal::InsufficientTokens)), "{answers:?}");
    assert_eq!(world.tokens_used().await, 3);
}

async fn tokens_are_exact_across_concurrent_batches(world: World) {
    let world = world.with_tokens(10).await;
    let batch = |n: u32| (0..4).map(|i| world.request(T0, &format!("{n}.{i}@example.com")).0).collect::<Vec<_>>();
    let batches: Vec<_> = (0..8).map(batch).collect();
    let answers = join_all(batches.iter().map(|batch| world.accept(T0, batch))).await;
    assert_eq!(answers.iter().flatten().filter(|answer| answer.is_ok()).count(), 10);
    assert_eq!((world.tokens_used().await, world.due().await.len()), (10, 10));
}

async fn a_refused_send_leaves_every_row_as_it_was(world: World) {
    let world = world.with_tokens(1).await;
    let limited = world.request(T0, ANN).limit(hourly(LimitName::Target, 1, 9)).limit(hourly(LimitName::Ip, 2, 1)).0;
    world.accept_one(T0, limited.clone()).await.expect("accepted");
    let before = world.everything(&limited).await;
    let refused = world.accept_one(at(60), limited.clone()).await;
    assert!(matches!(refused, Err(Refusal::Limited { by: LimitName::Ip, .. })), "{refused:?}");
    let poor = world.request(at(60), BOB).limit(hourly(LimitName::Target, 1, 9)).0;
    assert_eq!(world.accept_one(at(60), poor.clone()).await, Err(Refusal::InsufficientTokens));
    assert_eq!(world.everything(&limited).await, before);
    assert!(world.begin().await.read_open_targets(&[(world.id(), poor.target.newest)]).await.expect("rows").is_empty());
}

async fn the_projects_rate_refuses_what_is_too_much(world: World) {
    let slow = |target: &str| {
        let request = world.request(T0, target).settings(|settings| (settings.rate, settings.rate_burst) = (1, 2));
        request.0
    };
    let answers = world.accept(T0, &[slow("1@example.com"), slow("2@example.com"), slow("3@example.com")]).await;
    let Err(Refusal::Limited { by: LimitName::Project, exhausted }) = &answers[2] else { panic!("{answers:?}") };
    assert_eq!(exhausted.retry_after, Duration::from_secs(1));
    let next = world.accept_one(at(1), world.request(at(1), BOB).0).await;
    assert!(next.is_ok(), "{next:?}");
}

async fn of_concurrent_sends_to_one_target_one_is_accepted(world: World) {
    let requests: Vec<_> =
        (0..16).map(|_| vec![world.request(T0, ANN).limit(hourly(LimitName::Target, 1, 1)).0; 2]).collect();
    let answers = join_all(requests.iter().map(|batch| world.accept(T0, batch))).await;
    assert_eq!(answers.iter().flatten().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(world.tokens_used().await, 1);
}

async fn sends_to_one_target_in_one_batch_share_a_verification(world: World) {
    let answers = world.accept(T0, &[world.request(T0, ANN).0, world.request(T0, ANN).0]).await;
    let [Ok(first), Ok(second)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(first.dispatch.verification, second.dispatch.verification);
    assert_eq!((first.dispatch.n, second.dispatch.n), (1, 2));
    assert_eq!(world.verification(first.dispatch.verification).await.sends, 2);
    let newest = [world.dispatch(first.dispatch).await.newest, world.dispatch(second.dispatch).await.newest];
    assert_eq!((newest, world.due().await.len()), ([false, true], 2));
}

async fn concurrent_sends_to_one_target_share_a_verification(world: World) {
    let request = || vec![world.request(T0, ANN).settings(|settings| settings.sends = 20).0];
    let requests: Vec<_> = (0..12).map(|_| request()).collect();
    let answers = join_all(requests.iter().map(|batch| world.accept(T0, batch))).await;
    let mut sent: Vec<_> = answers.into_iter().flatten().map(|answer| answer.expect("accepted").dispatch).collect();
    sent.sort_unstable();
    assert!(sent.iter().all(|dispatch| dispatch.verification == sent[0].verification), "{sent:?}");
    assert_eq!(sent.iter().map(|dispatch| dispatch.n).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
}

async fn rows_under_an_older_key_still_count(world: World) {
    let first = world.request(T0, ANN).limit(hourly(LimitName::Target, 1, 2)).0;
    let opened = world.accept_one(T0, first.clone()).await.expect("accepted").dispatch;
    let mut rotated = first.clone();
    rotated.target = Indexes { newest: [9; 16], older: Box::new([first.target.newest]) };
    rotated.limits[0].key = Indexes { newest: [8; 16], older: Box::new([[1; 16]]) };
    let again = world.accept_one(at(30), rotated.clone()).await.expect("accepted");
    assert_eq!(again.dispatch.verification, opened.verification);
    let refused = world.accept_one(at(60), rotated).await;
    assert!(matches!(refused, Err(Refusal::Limited { by: LimitName::Target, .. })), "{refused:?}");
    assert!(first.limits[0].key == only([1; 16]));
}

async fn a_batch_with_one_bad_item_is_refused_whole(world: World) {
    let taken = world.send(T0, ANN).await;
    let good = world.request(T0, "good@example.com").limit(hourly(LimitName::Target, 1, 5)).0;
    let mut bad = world.request(T0, BOB).0;
    bad.candidate.id = taken.verification;
    let before = world.everything(&good).await;
    let refused = world.store.accept(T0, &[good.clone(), bad]).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(world.everything(&good).await, before);
    world.accept_one(T0, good).await.expect("accepted alone");
}
