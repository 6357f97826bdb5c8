//! Rows that a transaction makes in order to lock them are gone when they are not filled.

use common::otp::accept::Refusal;
use common::otp::changes::Changes;
use common::otp::channel::Mode;
use common::otp::rows::{IdempotencyKey, LimitName, OpenTargetKey};
use common::store::Lane;

use crate::database::{Database, with_database};
use crate::world::{ANN, BOB, T0, hourly};

async fn rows(database: &Database) -> [i64; 3] {
    [database.rows("limits").await, database.rows("idempotency_keys").await, database.rows("open_targets").await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_send_leaves_no_row_behind() {
    with_database(|database| async move {
        let world = database.world().await.with_tokens(1).await;
        let request = |target, n| world.request(T0, target).limit(hourly(LimitName::Target, n, 9)).key(n, 1).0;
        let answers = world.accept(T0, &[request(ANN, 1), request(BOB, 2)]).await;
        assert!(matches!(answers[..], [Ok(_), Err(Refusal::InsufficientTokens)]), "{answers:?}");
        assert_eq!(rows(&database).await, [1, 1, 1]);
        assert_eq!(world.accept_one(T0, request(BOB, 2)).await, Err(Refusal::InsufficientTokens));
        assert_eq!(rows(&database).await, [1, 1, 1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_alone_leave_no_row_behind() {
    with_database(|database| async move {
        let world = database.world().await;
        let mut tx = world.begin().await;
        let key = IdempotencyKey { project: world.id(), mode: Mode::Live, key: [1; 16] };
        let target = OpenTargetKey { project: world.id(), target: [2; 16], record: String::new(), mode: Mode::Live };
        assert!(tx.lock_limits(&[[3; 16]]).await.expect("locked").is_empty());
        let shared = tx.lock_shared(&[key], &[target], &[world.id()]).await.expect("locked");
        assert!(shared.remembered.is_empty() && shared.open_targets.is_empty(), "{shared:?}");
        assert!(tx.lock_limits(&[[3; 16], [4; 16]]).await.expect("locked again").is_empty());
        tx.commit().await.expect("committed");
        assert_eq!(rows(&database).await, [0, 0, 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_goes_over_all_pages_of_a_table() {
    with_database(|database| async move {
        let world = database.world().await;
        database
            .execute(
                "insert into limits (key, time0, time1)
                 select decode(lpad(to_hex(i), 32, '0'), 'hex'), 1, case when i % 10 = 0 then 1752402600001 else 0 end
                 from generate_series(1, 60000) i",
            )
            .await;
        assert_eq!(world.store.sweep(T0).await.expect("swept"), 54_000);
        assert_eq!(database.rows("limits").await, 6_000);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_is_undone_before_the_next_batch() {
    with_database(|database| async move {
        let world = database.world().await;
        let mut changes = Changes::at(T0);
        changes.limits.insert([3; 16], [T0; 3]);
        for lane in [Lane::Send, Lane::Settle, Lane::Guess, Lane::Any] {
            let mut tx = world.store.begin(lane, T0).await.expect("begun");
            tx.lock_limits(&[[3; 16]]).await.expect("locked");
            tx.write(&changes).await.expect("written");
            drop(tx);
            // On the same connection, where a lane has but one.
            let mut tx = world.store.begin(lane, T0).await.expect("begun again");
            assert!(tx.read_limits(&[[3; 16]]).await.expect("read").is_empty(), "{lane:?}");
            tx.commit().await.expect("committed");
            assert_eq!(database.rows("limits").await, 0, "{lane:?}");
        }
    })
    .await;
}
