//! Schema and partitions, also when several processes see to them at once.

use std::time::Duration;

use common::otp::claim::Claim;
use common::otp::finish::Finished;
use common::otp::ids::VerificationId;
use common::otp::time::{DAY_MS, Timestamp};
use common::store::upkeep::Upkeep;
use futures_util::future::join_all;

use crate::database::{Database, with_database};
use crate::world::{ANN, BOB, LEASE, T0, at, attempt, taken};

const DAY: Duration = Duration::from_secs(86_400);

async fn days(database: &Database, table: &str) -> i64 {
    let parts = format!("select count(*) from pg_inherits where inhparent = '{table}'::regclass");
    database.number(&parts).await - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_migrate_and_rotate_at_once() {
    with_database(|database| async move {
        let backends: Vec<_> = (0..4).map(|_| database.backend()).collect();
        let today = backends[0].now().await.expect("a time").day();
        for outcome in join_all(backends.iter().map(Upkeep::migrate)).await {
            outcome.expect("migrated");
        }
        for outcome in join_all(backends.iter().map(|backend| backend.rotate(T0))).await {
            outcome.expect("rotated");
        }
        assert!(backends[0].is_migrated().await.expect("asked"));
        // Nine days about the present, one more where midnight came, and since then nine about the test's past.
        let most = 18 + backends[0].now().await.expect("a time").day() - today;
        let made = days(&database, "verifications").await;
        assert!((18..=most).contains(&made), "{made}");
        for table in ["dispatches", "attempts"] {
            assert_eq!(days(&database, table).await, made, "{table}");
        }
        backends[0].rotate(T0).await.expect("rotated again");
        assert_eq!(days(&database, "verifications").await, made);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_lie_in_the_partition_of_their_day_and_others_in_the_default_one() {
    with_database(|database| async move {
        let world = database.world().await;
        world.send(T0, ANN).await;
        let late = world.send(T0 + 30 * DAY, BOB).await;
        assert_eq!(database.rows("verifications_20250713").await, 1);
        assert_eq!(database.rows("verifications_default").await, 1);
        world.store.rotate(T0 + 30 * DAY).await.expect("the full day is passed over");
        assert_eq!(database.rows("verifications_default").await, 1);
        assert_eq!(world.verification(late.verification).await.id, late.verification);
        assert_eq!(database.rows("verifications_20250813").await, 0);
    })
    .await;
}

/// Rows of one present day are found in its own tables, those of several by the parents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_around_midnight_find_the_rows_of_both_days() {
    with_database(|database| async move {
        let world = database.world().await;
        let midnight = (T0.day() + 1) * DAY_MS;
        let (evening, morning) = (Timestamp::from_ms(midnight - 1000), Timestamp::from_ms(midnight + 1000));
        let sent = [world.send(evening, ANN).await, world.send(morning, BOB).await];
        let both = sent.map(|dispatch| Claim { attempt: attempt(dispatch, 1), lease: LEASE });
        let claimed = world.store.claim(morning, &both).await.expect("claimed");
        assert!(claimed.iter().all(Result::is_ok), "{claimed:?}");
        for (dispatch, target) in sent.into_iter().zip([ANN, BOB]) {
            let finished = world.finish(morning, taken(morning, attempt(dispatch, 1), target)).await;
            assert!(matches!(finished, Finished::Current { .. }), "{finished:?}");
            world.guess_wrong(morning, target, 2).await;
            assert_eq!(world.verification(dispatch.verification).await.guesses, 2);
        }
        for table in ["verifications", "dispatches", "attempts"] {
            for (day, rows) in [("20250713", 1), ("20250714", 1), ("default", 0)] {
                assert_eq!(database.rows(&format!("{table}_{day}")).await, rows, "{table}_{day}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_that_every_project_has_forgotten_are_dropped() {
    with_database(|database| async move {
        let world = database.world().await;
        let mut patient = world.other_project().await.project;
        std::sync::Arc::make_mut(&mut patient.settings).retention_days = 40;
        world.store.update_project(&patient).await.expect("updated");
        let old = world.send(T0, ANN).await;
        let lost = world.send(T0 + 20 * DAY, BOB).await;
        world.store.rotate(T0 + 40 * DAY).await.expect("rotated");
        assert_eq!(world.verification(old.verification).await.id, old.verification);
        world.store.rotate(T0 + 41 * DAY).await.expect("rotated");
        assert!(world.store.find_dispatch(old).await.expect("asked").is_none());
        assert_eq!(database.rows("verifications_default").await, 1);
        world.store.rotate(T0 + 61 * DAY).await.expect("rotated");
        assert!(world.store.find_dispatch(lost).await.expect("asked").is_none());
        assert_eq!((database.rows("due").await, world.due().await.len()), (2, 0));
        world.store.sweep(T0 + 61 * DAY).await.expect("swept");
        assert_eq!(database.rows("due").await, 0, "what points nowhere is not due for ever");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_goes_on_while_partitions_are_made_and_dropped() {
    with_database(|database| async move {
        let world = database.world().await;
        let other = database.backend();
        let rotate = async {
            for day in 0..8 {
                other.rotate(T0 + day * 20 * DAY).await.expect("rotated");
            }
        };
        let send = async {
            for n in 0..200 {
                let dispatch = world.send(T0 + 200 * DAY, &format!("{n}@example.com")).await;
                world.claimed(T0 + 200 * DAY, dispatch, 1).await;
            }
        };
        tokio::join!(rotate, send);
        assert_eq!(database.rows("verifications").await, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_are_erased_when_their_life_is_over() {
    with_database(|database| async move {
        let world = database.world().await;
        for n in 0..3 {
            world.send(at(n), &format!("{n}@example.com")).await;
        }
        let now = world.store.now().await.expect("now");
        let alive = world.send(now, "alive@example.com").await;
        let (from, until) = (VerificationId::floor(T0), VerificationId::floor(now + DAY));
        assert_eq!(world.store.erase_codes(from, VerificationId::floor(at(2))).await.expect("erased"), 2);
        assert_eq!(world.store.erase_codes(from, VerificationId::floor(now)).await.expect("erased"), 1);
        assert!(world.verification(alive.verification).await.code.is_some());
        assert_eq!(world.store.erase_codes(from, until).await.expect("erased"), 1);
    })
    .await;
}
