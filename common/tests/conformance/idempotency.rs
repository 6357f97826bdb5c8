//! Idempotency keys: the first accepted answer is the answer.

use common::otp::accept::{Accept, Refusal};
use common::otp::rows::{Indexes, LimitName};
use futures_util::future::join_all;

use crate::world::{ANN, BOB, Request, T0, World, at, hourly};

crate::scenarios! {
    an_equal_request_gets_the_first_answer_and_sends_nothing,
    of_two_equal_keys_in_one_batch_the_second_is_a_replay,
    of_concurrent_equal_keys_one_sends_and_the_rest_are_replays,
    what_waits_at_a_limit_finds_the_reply_that_it_waited_for,
    a_key_serves_one_request,
    keys_of_other_modes_and_projects_are_other_keys,
    a_refused_request_is_not_remembered,
    a_key_is_known_under_an_older_root,
}

fn keyed(world: &World, target: &str, request: u8) -> Accept {
    world.request(T0, target).key(1, request).0
}

async fn an_equal_request_gets_the_first_answer_and_sends_nothing(world: World) {
    let request = world.request(T0, ANN).key(1, 1).limit(hourly(LimitName::Target, 1, 1)).0;
    let first = world.accept_one(T0, request.clone()).await.expect("accepted");
    let before = world.everything(&request).await;
    let second = world.accept_one(at(60), request.clone()).await.expect("replayed");
    assert_eq!((second.dispatch, second.expires_in), (first.dispatch, first.expires_in));
    assert!(!first.replayed && second.replayed);
    assert_eq!(world.everything(&request).await, before);
}

async fn of_two_equal_keys_in_one_batch_the_second_is_a_replay(world: World) {
    let answers = world.accept(T0, &[keyed(&world, ANN, 1), keyed(&world, ANN, 1)]).await;
    let [Ok(first), Ok(second)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((first.dispatch, first.replayed, second.replayed), (second.dispatch, false, true));
    assert_eq!(world.tokens_used().await, 1);
}

async fn of_concurrent_equal_keys_one_sends_and_the_rest_are_replays(world: World) {
    let batches: Vec<_> = (0..12).map(|_| [keyed(&world, ANN, 1)]).collect();
    let answers = join_all(batches.iter().map(|batch| world.accept(T0, batch))).await;
    let answers: Vec<_> = answers.into_iter().flatten().map(|answer| answer.expect("an answer")).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.dispatch == answers[0].dispatch));
    assert_eq!((world.tokens_used().await, world.due().await.len()), (1, 1));
}

async fn what_waits_at_a_limit_finds_the_reply_that_it_waited_for(world: World) {
    let limited = |request: Request| vec![request.limit(hourly(LimitName::Target, 1, 2)).0];
    // From here on the limit has a row, at which one waits for the other.
    world.accept(T0, &limited(world.request(T0, ANN))).await.remove(0).expect("accepted");
    let batches: Vec<_> = (0..12).map(|_| limited(world.request(T0, ANN).key(1, 1))).collect();
    let answers = join_all(batches.iter().map(|batch| world.accept(T0, batch))).await;
    let answers: Vec<_> = answers.into_iter().flatten().map(|answer| answer.expect("an answer")).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
}

async fn a_key_serves_one_request(world: World) {
    let answers = world.accept(T0, &[keyed(&world, ANN, 1), keyed(&world, BOB, 2)]).await;
    assert_eq!(answers[1], Err(Refusal::KeyReused));
    assert_eq!(world.accept_one(at(60), keyed(&world, BOB, 2)).await, Err(Refusal::KeyReused));
}

async fn keys_of_other_modes_and_projects_are_other_keys(world: World) {
    let other = world.other_project().await;
    let sandbox = world.request(T0, BOB).sandbox().key(1, 2).0;
    let answers = world.accept(T0, &[keyed(&world, ANN, 1), sandbox, keyed(&other, BOB, 3)]).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|accepted| !accepted.replayed)), "{answers:?}");
}

async fn a_refused_request_is_not_remembered(world: World) {
    let poor = world.with_tokens(0).await;
    assert_eq!(poor.accept_one(T0, keyed(&poor, ANN, 1)).await, Err(Refusal::InsufficientTokens));
    let mut project = poor.project.clone();
    project.counters.tokens = Some(1);
    poor.store.update_project(&project).await.expect("updated");
    let accepted = poor.accept_one(T0, keyed(&poor, ANN, 2)).await.expect("accepted, as another request");
    assert!(!accepted.replayed);
}

async fn a_key_is_known_under_an_older_root(world: World) {
    let mut request = keyed(&world, ANN, 1);
    let first = world.accept_one(T0, request.clone()).await.expect("accepted");
    let key = Indexes { newest: [2; 16], older: Box::new([[1; 16]]) };
    request.idempotency.as_mut().expect("a key").key = key;
    let second = world.accept_one(T0, request).await.expect("replayed");
    assert_eq!((second.dispatch, second.replayed), (first.dispatch, true));
}
