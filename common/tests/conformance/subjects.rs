//! Record ids with one open verification at most, and what an erasing success leaves.

use common::otp::accept::Accept;
use common::otp::channel::Mode;
use common::otp::guess::{Guess, Reason, Verdict, Wanted};
use common::otp::ids::VerificationId;
use common::otp::rows::{CarriedGuesses, State};
use common::otp::time::Timestamp;
use futures_util::future::join_all;

use crate::world::{ANN, BOB, CODE, T0, World, at, only};

crate::scenarios! {
    a_send_to_another_target_supersedes_the_subjects_verification,
    a_send_to_the_same_target_is_a_resend,
    of_concurrent_sends_of_one_subject_one_stays_open,
    a_subjects_verification_is_found_without_its_target,
    an_erasing_success_leaves_a_row_without_target_and_code,
    two_who_erase_at_once_verify_once,
}

const UID: &str = "123e4567-e89b-12d3-a456-426614174000";
const SUBJECT: [u8; 16] = [9; 16];

fn of_subject(world: &World, now: Timestamp, target: &str) -> Accept {
    Accept { subject: Some(only(SUBJECT)), ..world.request(now, target).record(UID).0 }
}

async fn send(world: &World, now: Timestamp, target: &str) -> VerificationId {
    world.accept_one(now, of_subject(world, now, target)).await.expect("accepted").dispatch.verification
}

async fn newest(world: &World, now: Timestamp) -> Option<VerificationId> {
    let subject = only(SUBJECT);
    let wanted = Wanted { project: world.id(), modes: Mode::Live.visible(), target: &subject, record: Some(UID) };
    world.store.newest(now, &wanted).await.expect("an answer")
}

fn erasing(world: &World, target: &str) -> Guess {
    Guess { record: Some(UID.to_owned()), erase: true, ..world.guess(target, CODE) }
}

async fn a_send_to_another_target_supersedes_the_subjects_verification(world: World) {
    let first = send(&world, T0, ANN).await;
    let wrong = Guess { record: Some(UID.to_owned()), ..world.guess(ANN, crate::world::WRONG) };
    world.verify_one(at(1), wrong).await;
    let second = send(&world, at(2), BOB).await;
    assert_ne!(first, second);
    assert_eq!(world.verification(first).await.state, State::Superseded);
    let now = world.verification(second).await;
    assert_eq!((now.state, now.carried), (State::Open, Some(CarriedGuesses { left: 4, until: at(300) })));
    let third = send(&world, at(3), ANN).await;
    assert_eq!(world.verification(second).await.state, State::Superseded);
    assert_eq!(newest(&world, at(4)).await, Some(third));
}

async fn a_send_to_the_same_target_is_a_resend(world: World) {
    let first = send(&world, T0, ANN).await;
    assert_eq!(send(&world, at(30), ANN).await, first);
    let plain = world.accept_one(at(60), world.request(at(60), ANN).record(UID).0).await.expect("accepted");
    assert_eq!(plain.dispatch.verification, first, "the subject is not needed to find it");
}

async fn of_concurrent_sends_of_one_subject_one_stays_open(world: World) {
    let targets: Vec<String> = (0..8).map(|i| format!("u{i}@example.com")).collect();
    let sends = join_all(targets.iter().map(|target| send(&world, T0, target))).await;
    let mut open = Vec::new();
    for id in sends {
        if world.verification(id).await.state == State::Open {
            open.push(id);
        }
    }
    assert_eq!(open.len(), 1);
    assert_eq!(newest(&world, at(1)).await, open.first().copied());
}

async fn a_subjects_verification_is_found_without_its_target(world: World) {
    assert_eq!(newest(&world, T0).await, None);
    let id = send(&world, T0, ANN).await;
    assert_eq!(newest(&world, at(1)).await, Some(id));
    assert_eq!(newest(&world, at(400)).await, Some(id), "its end can still be told");
    let other = world.other_project().await;
    assert_eq!(newest(&other, at(1)).await, None);
}

async fn an_erasing_success_leaves_a_row_without_target_and_code(world: World) {
    let id = send(&world, T0, ANN).await;
    let Verdict::Verified { verification, .. } = world.verify_one(at(1), erasing(&world, ANN)).await else {
        panic!("not verified")
    };
    assert_eq!(verification.target.0, ANN.as_bytes(), "the answer still has it");
    let row = world.verification(id).await;
    assert_eq!((row.state, row.code), (State::Verified, None));
    assert!(row.target.0.is_empty());
    assert_eq!((row.target_tag, row.code_hash), ([0; 16], [0; 32]));
    let again = world.verify_one(at(2), erasing(&world, ANN)).await;
    assert_eq!(again, Verdict::Refused { verification: Some(id), reason: Reason::Used });
}

async fn two_who_erase_at_once_verify_once(world: World) {
    send(&world, T0, ANN).await;
    let verdicts = join_all((0..8).map(|_| world.verify_one(at(1), erasing(&world, ANN)))).await;
    assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Verified { .. })).count(), 1);
}
