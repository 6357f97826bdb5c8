//! What only SQLite promises: a private file that other processes may write to in short transactions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::store::sqlite::SqliteBackend;
use common::store::{Backend, Lane, Store, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use tempfile::TempDir;

use crate::world::{ANN, T0, World};

async fn new_file() -> (TempDir, PathBuf, World) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("otpd.db");
    let store = open(&path).await;
    store.migrate().await.expect("migrated");
    (folder, path, World::new(store).await)
}

async fn open(path: &Path) -> Store {
    Store::new(Arc::new(SqliteBackend::open(path).await.expect("opened")))
}

async fn another_process(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.expect("connected")
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_side_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, _, _world) = new_file().await;
    let modes = std::fs::read_dir(folder.path()).expect("a folder").map(|entry| {
        let entry = entry.expect("an entry");
        (entry.file_name(), entry.metadata().expect("metadata").permissions().mode() & 0o777)
    });
    let modes: Vec<_> = modes.collect();
    assert!(modes.len() >= 2 && modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn a_new_file_has_no_schema_until_it_is_migrated() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("otpd.db")).await;
    assert!(!store.is_migrated().await.expect("an answer"));
    store.migrate().await.expect("migrated");
    assert!(store.is_migrated().await.expect("an answer"));
}

#[tokio::test]
async fn what_one_process_writes_another_sees_at_once() {
    let (_folder, path, world) = new_file().await;
    let beside = open(&path).await;
    let mut project = world.project.clone();
    project.name = "renamed".to_owned();
    beside.update_project(&project).await.expect("updated");
    let seen = world.store.find_project(world.id().as_uuid()).await.expect("found").expect("a project");
    assert_eq!(seen.name, "renamed");
}

#[tokio::test]
async fn rows_outlive_the_program() {
    let (_folder, path, world) = new_file().await;
    let id = world.send(T0, ANN).await;
    drop(world);
    assert!(open(&path).await.find_dispatch(id).await.expect("an answer").is_some());
}

#[tokio::test]
async fn a_file_that_another_process_keeps_busy_is_a_conflict() {
    let (_folder, path, _world) = new_file().await;
    let backend = SqliteBackend::open(&path).await.expect("opened");
    let mut other = another_process(&path).await;
    other.execute("begin immediate").await.expect("begun");
    let refused = backend.begin(Lane::Any, T0).await.err();
    assert!(matches!(refused, Some(StoreError::Conflict(_))), "{refused:?}");
    other.execute("rollback").await.expect("given up");
    assert!(backend.begin(Lane::Any, T0).await.is_ok());
}

#[tokio::test]
async fn a_code_of_a_newer_program_is_refused() {
    let (_folder, path, world) = new_file().await;
    let id = world.send(T0, ANN).await;
    let mut other = another_process(&path).await;
    other.execute("update dispatches set status = 99").await.expect("updated");
    other.close().await.expect("closed");
    let refused = world.store.find_dispatch(id).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
