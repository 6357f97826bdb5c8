//! Which verification a guess is at: by target, by the caller's record, by the server's id, and by whom.

use common::otp::channel::Mode;
use common::otp::guess::{Guess, Reason, Verdict};
use common::otp::ids::VerificationId;
use common::otp::rows::Indexes;

use crate::world::{ANN, BOB, CODE, T0, World, at};

crate::scenarios! {
    a_guess_by_the_servers_id_must_name_its_target,
    another_project_finds_nothing,
    a_sandbox_key_does_not_see_live_verifications,
    a_record_tells_verifications_of_one_target_apart,
    a_guess_without_a_record_is_at_the_newest_open_one,
    a_doors_verification_is_found_by_its_door_alone,
    a_pointer_under_an_older_root_is_found,
    a_superseded_verification_is_no_longer_found_by_target,
}

/// Which verification the right code verified.
fn verified(verdict: &Verdict) -> Option<VerificationId> {
    match verdict {
        Verdict::Verified { verification, .. } => Some(verification.id),
        _ => None,
    }
}

const NOT_FOUND: Verdict = Verdict::Refused { verification: None, reason: Reason::NotFound };

async fn a_guess_by_the_servers_id_must_name_its_target(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let by_id = |target: &str| Guess { by_id: Some((id, world.tag(target))), ..world.guess(target, CODE) };
    assert_eq!(world.verify_one(at(1), by_id(BOB)).await, NOT_FOUND);
    assert_eq!(verified(&world.verify_one(at(1), by_id(ANN)).await), Some(id));
}

async fn another_project_finds_nothing(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let other = world.other_project().await;
    let by_target = Guess { target: world.indexes(ANN), ..other.guess(ANN, CODE) };
    let by_id = Guess { by_id: Some((id, world.tag(ANN))), ..other.guess(ANN, CODE) };
    assert_eq!(other.verify(at(1), &[by_target, by_id]).await, [NOT_FOUND, NOT_FOUND]);
    assert_eq!(world.verification(id).await.guesses, 0);
}

async fn a_sandbox_key_does_not_see_live_verifications(world: World) {
    let live = world.send(T0, ANN).await.verification;
    let by_sandbox = Guess { modes: Mode::Sandbox.visible(), ..world.guess(ANN, CODE) };
    let by_id = Guess { by_id: Some((live, world.tag(ANN))), ..by_sandbox.clone() };
    assert_eq!(world.verify(at(1), &[by_sandbox.clone(), by_id]).await, [NOT_FOUND, NOT_FOUND]);
    let sandbox = world.accept_one(T0, world.request(T0, ANN).sandbox().0).await.expect("accepted").dispatch;
    assert_eq!(verified(&world.verify_one(at(1), by_sandbox).await), Some(sandbox.verification));
    let other = world.accept_one(T0, world.request(T0, BOB).sandbox().0).await.expect("accepted").dispatch;
    let by_live = world.verify_one(at(1), world.guess(BOB, CODE)).await;
    assert_eq!(verified(&by_live), Some(other.verification), "a live key sees both");
}

async fn a_record_tells_verifications_of_one_target_apart(world: World) {
    let a = world.accept_one(T0, world.request(T0, ANN).record("a").0).await.expect("accepted").dispatch;
    world.accept_one(at(1), world.request(at(1), ANN).record("b").0).await.expect("accepted");
    let of = |record: &str| Guess { record: Some(record.to_owned()), ..world.guess(ANN, CODE) };
    assert_eq!(world.verify_one(at(2), of("c")).await, NOT_FOUND);
    assert_eq!(verified(&world.verify_one(at(2), of("a")).await), Some(a.verification));
}

async fn a_guess_without_a_record_is_at_the_newest_open_one(world: World) {
    let a = world.accept_one(T0, world.request(T0, ANN).record("a").0).await.expect("accepted").dispatch;
    let b = world.accept_one(at(1), world.request(at(1), ANN).record("b").0).await.expect("accepted").dispatch;
    assert_eq!(verified(&world.verify_one(at(2), world.guess(ANN, CODE)).await), Some(b.verification));
    assert_eq!(verified(&world.verify_one(at(2), world.guess(ANN, CODE)).await), Some(a.verification));
}

async fn a_doors_verification_is_found_by_its_door_alone(world: World) {
    let door = world.accept_one(T0, world.request(T0, ANN).record("door:web").0).await.expect("accepted").dispatch;
    let by_id = Guess { by_id: Some((door.verification, world.tag(ANN))), ..world.guess(ANN, CODE) };
    assert_eq!(world.verify(at(1), &[world.guess(ANN, CODE), by_id]).await, [NOT_FOUND, NOT_FOUND]);
    let by_door = Guess { record: Some("door:web".to_owned()), ..world.guess(ANN, CODE) };
    assert_eq!(verified(&world.verify_one(at(1), by_door).await), Some(door.verification));
}

async fn a_pointer_under_an_older_root_is_found(world: World) {
    let id = world.send(T0, ANN).await.verification;
    let target = Indexes { newest: [9; 16], older: Box::new([world.indexes(ANN).newest]) };
    let guess = Guess { target, ..world.guess(ANN, CODE) };
    assert_eq!(verified(&world.verify_one(at(1), guess).await), Some(id));
}

async fn a_superseded_verification_is_no_longer_found_by_target(world: World) {
    let old = world.send(T0, ANN).await.verification;
    let new = world.send(at(250), ANN).await.verification;
    let by_old_id = Guess { by_id: Some((old, world.tag(ANN))), ..world.guess(ANN, CODE) };
    let expired = Verdict::Refused { verification: Some(old), reason: Reason::Expired };
    assert_eq!(world.verify_one(at(260), by_old_id).await, expired);
    assert_eq!(verified(&world.verify_one(at(260), world.guess(ANN, CODE)).await), Some(new));
}
