//! Lost and missing connections: the store comes back by itself.

use std::time::Duration;

use common::store::postgres::{PgBackend, PoolSettings};
use common::store::projects::{Project, Projects};
use common::store::upkeep::Upkeep;
use common::store::{Backend, Lane, StoreError};
use futures_util::future::join_all;

use crate::database::{POOL, with_database};
use crate::world::{T0, at};

const IN_A_HURRY: PoolSettings = PoolSettings { max_connections: 3, acquire_timeout: Duration::from_millis(500) };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_connections_were_ended_goes_on_at_once() {
    with_database(|database| async move {
        let world = database.world().await;
        join_all((0..12).map(|_| world.tokens_used())).await;
        for n in 0..5 {
            database
                .execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and pid <> pg_backend_pid()",
                )
                .await;
            world.send(T0, &format!("{n}@example.com")).await;
        }
        assert_eq!(world.tokens_used().await, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_connection_is_ended_writes_nothing_and_says_so() {
    with_database(|database| async move {
        let world = database.world().await;
        let dispatch = world.send(T0, "a@example.com").await;
        let mut tx = world.begin().await;
        tx.lock_dispatches(&[dispatch]).await.expect("locked");
        database
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and state = 'idle in transaction'",
            )
            .await;
        let lost = tx.read_verifications(&[dispatch.verification]).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
        drop(tx);
        world.claim(at(1), dispatch, 1).await.expect("the lock is gone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_another_transaction_holds_is_a_conflict_after_two_seconds() {
    with_database(|database| async move {
        let world = database.world().await;
        let dispatch = world.send(T0, "a@example.com").await;
        let (mut one, mut two) = (world.begin().await, world.begin().await);
        one.lock_dispatches(&[dispatch]).await.expect("locked");
        let waited = two.lock_dispatches(&[dispatch]).await.map(|_| ());
        // Either the wait for the lock ends, or the holder was idle for so long that the server ended it. By the time of
        // the whole statement, which is longer, neither has to come to an end.
        let has_ended = match &waited {
            Err(StoreError::Conflict(words)) => words.contains("lock timeout"),
            other => other.is_ok(),
        };
        assert!(has_ended, "{waited:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stood_still_for_too_long_is_to_be_tried_again() {
    with_database(|database| async move {
        let world = database.world().await;
        let dispatch = world.send(T0, "a@example.com").await;
        let mut tx = world.begin().await;
        tx.lock_dispatches(&[dispatch]).await.expect("locked");
        database
            .execute(
                "do $$
                 begin
                     for _ in 1..2400 loop
                         perform pg_stat_clear_snapshot();
                         exit when not exists (
                             select from pg_stat_activity
                             where datname = current_database() and state = 'idle in transaction');
                         perform pg_sleep(0.05);
                     end loop;
                 end $$",
            )
            .await;
        let ended = tx.read_verifications(&[dispatch.verification]).await;
        assert!(matches!(ended, Err(StoreError::Conflict(_))), "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_not_an_error_at_start() {
    let backend = PgBackend::connect("postgres://nobody@127.0.0.1:9/none", &IN_A_HURRY).expect("connected later");
    let away = backend.begin(Lane::Any, T0).await.map(|_| ());
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    assert!(PgBackend::connect("not a url", &IN_A_HURRY).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_a_schema_is_unavailable_until_it_is_migrated() {
    with_database(|database| async move {
        let backend = database.backend();
        assert!(!backend.is_migrated().await.expect("asked"));
        let early = backend.list_projects().await.map(|_| ());
        assert!(matches!(early, Err(StoreError::Unavailable(_))), "{early:?}");
        database.migrated().await;
        assert!(backend.is_migrated().await.expect("asked"));
        assert!(backend.list_projects().await.expect("projects").is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_have_limits_and_a_name() {
    with_database(|database| async move {
        let world = database.world().await;
        let _tx = world.begin().await;
        let named = "select count(*) from pg_stat_activity
                     where datname = current_database() and application_name = 'otpd' and state like 'idle%'";
        assert!(database.number(named).await > 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_nobody_waited_for_takes_no_write_with_it() {
    with_database(|database| async move {
        let world = database.world().await;
        // One connection is for what is written without a transaction, and for those of no lane.
        let store = database.backend_with(&PoolSettings { max_connections: 5, ..POOL });
        for turns in 0..40 {
            let begun =
                tokio::select! { biased; begun = store.begin(Lane::Any, T0) => Some(begun), () = after(turns) => None };
            drop(begun);
            let name = format!("turn {turns}");
            let project = Project { name: name.clone(), ..world.project.clone() };
            store.update_project(&project).await.expect("updated");
            let found = database.number(&format!("select count(*) from projects where name = '{name}'")).await;
            assert_eq!(found, 1, "{name}");
        }
    })
    .await;
}

/// So many times others had a turn.
async fn after(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}
