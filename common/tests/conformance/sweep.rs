//! Forgetting: what has had its time goes, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use common::otp::channel::{Channel, Mode};
use common::otp::ids::DispatchId;
use common::otp::rows::{LimitName, Sealed};
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use common::store::records::{Page, SandboxMessage};
use uuid::Uuid;

use crate::world::{ANN, BOB, CODE, T0, World, at, hourly, receipt};

crate::scenarios! {
    used_up_limits_are_swept,
    old_pointers_are_swept,
    old_idempotency_keys_are_swept,
    old_message_ids_are_swept,
    old_sandbox_messages_are_swept,
    receipts_are_swept_parked_ones_first,
    more_rows_than_a_step_are_swept,
    old_verifications_are_forgotten_with_all_that_is_theirs,
    the_longest_retention_counts,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

async fn sweep(world: &World, seconds: u64) -> u64 {
    world.store.sweep(at(seconds)).await.expect("swept")
}

async fn used_up_limits_are_swept(world: World) {
    let request = world.request(T0, ANN).limit(hourly(LimitName::Target, 1, 1)).limit(hourly(LimitName::Ip, 2, 6)).0;
    world.accept_one(T0, request).await.expect("accepted");
    let left = async || world.begin().await.read_limits(&[[1; 16], [2; 16]]).await.expect("limits").len();
    assert_eq!((sweep(&world, 600).await, left().await), (0, 2));
    assert_eq!((sweep(&world, 601).await, left().await), (1, 1));
    assert_eq!((sweep(&world, HOUR + 1).await, left().await), (1, 0));
}

async fn old_pointers_are_swept(world: World) {
    world.send(T0, ANN).await;
    let targets = [(world.id(), world.indexes(ANN).newest)];
    let left = async || world.begin().await.read_open_targets(&targets).await.expect("pointers").len();
    assert_eq!((sweep(&world, 300 + DAY).await, left().await), (0, 1));
    assert_eq!((sweep(&world, 301 + DAY).await, left().await), (1, 0));
}

async fn old_idempotency_keys_are_swept(world: World) {
    let request = world.request(T0, ANN).key(1, 1).0;
    world.accept_one(T0, request.clone()).await.expect("accepted");
    assert_eq!(sweep(&world, DAY).await, 0);
    assert!(world.accept_one(at(DAY - 1), request).await.expect("replayed").replayed);
    assert_eq!(sweep(&world, DAY + 1).await, 1);
    let again = world.request(at(DAY + 1), ANN).key(1, 1).0;
    assert!(!world.accept_one(at(DAY + 1), again).await.expect("accepted").replayed);
}

async fn old_message_ids_are_swept(world: World) {
    world.sent(T0, ANN, "m1").await;
    sweep(&world, 7 * DAY).await;
    let known = [("acme".to_owned(), "m1".to_owned())];
    assert_eq!(world.begin().await.read_message_ids(&known).await.expect("ids").len(), 1);
    assert_eq!(sweep(&world, 7 * DAY + 1).await, 1);
    assert_eq!(world.begin().await.read_message_ids(&known).await.expect("ids").len(), 0);
}

async fn old_sandbox_messages_are_swept(world: World) {
    let (channel, sealed) = (Channel::Sms, Sealed(vec![1]));
    let (id, project, mode) = (Uuid::now_v7(), world.id(), Mode::Sandbox);
    let message = SandboxMessage { id, project, mode, channel, target: [1; 16], sealed, created: T0 };
    world.store.keep_messages(&[message]).await.expect("kept");
    assert_eq!(sweep(&world, DAY).await, 0);
    assert_eq!(sweep(&world, DAY + 1).await, 1);
}

async fn receipts_are_swept_parked_ones_first(world: World) {
    let id = world.sent(T0, ANN, "m1").await;
    world.receive(receipt(T0, "m1", ReceiptStatus::Delivered)).await;
    world.receive(receipt(T0, "unknown", ReceiptStatus::Delivered)).await;
    assert_eq!(sweep(&world, DAY).await, 0);
    assert_eq!(sweep(&world, DAY + 301).await, 2, "the parked receipt and the pointer");
    assert_eq!(world.timeline(id.verification).await.receipts.len(), 1);
    sweep(&world, 29 * DAY).await;
    assert_eq!(world.timeline(id.verification).await.receipts.len(), 1);
    sweep(&world, 32 * DAY).await;
    assert_eq!(world.timeline(id.verification).await.receipts.len(), 0);
}

async fn more_rows_than_a_step_are_swept(world: World) {
    let parked: Vec<_> = (0..2500).map(|i| receipt(T0, &i.to_string(), ReceiptStatus::Sent)).collect();
    world.store.receive(T0, &parked).await.expect("received");
    assert_eq!(sweep(&world, DAY + 1).await, 2500);
}

async fn old_verifications_are_forgotten_with_all_that_is_theirs(world: World) {
    let old = world.sent(T0, ANN, "m1").await;
    let new = world.send(at(2 * DAY), BOB).await;
    world.store.rotate(at(30 * DAY)).await.expect("rotated");
    assert_eq!(world.timeline(old.verification).await.attempts.len(), 1);
    world.store.rotate(at(31 * DAY)).await.expect("rotated");
    let found = async |id: DispatchId| world.store.find_dispatch(id).await.expect("an answer").is_some();
    assert_eq!((found(old).await, found(new).await), (false, true));
    let attempts = world.begin().await.read_attempts(&[old]).await.expect("attempts");
    assert!(attempts.is_empty());
    let page = Page { before: None, offset: 0, limit: 10 };
    assert_eq!(world.store.list_records(&world.filter(), page).await.expect("records").len(), 1);
    let now = at(2 * DAY + 1);
    assert!(world.verify_one(now, world.guess(BOB, CODE)).await != world.verify_one(now, world.guess(ANN, CODE)).await);
}

async fn the_longest_retention_counts(world: World) {
    let patient = world.other_project().await;
    let mut project = patient.project.clone();
    Arc::make_mut(&mut project.settings).retention_days = 90;
    world.store.update_project(&project).await.expect("updated");
    let id = world.send(T0, ANN).await;
    world.store.rotate(at(90 * DAY)).await.expect("rotated");
    assert!(world.store.find_dispatch(id).await.expect("an answer").is_some());
    let later: Timestamp = at(91 * DAY) + Duration::from_secs(DAY);
    world.store.rotate(later).await.expect("rotated");
    assert!(world.store.find_dispatch(id).await.expect("an answer").is_none());
}
