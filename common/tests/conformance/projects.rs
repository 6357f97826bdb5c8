//! Projects and their keys.

use std::sync::Arc;

use common::otp::channel::Mode;
use common::otp::settings::ProjectSettings;
use common::store::StoreError;
use common::tenancy::{new_key, new_project_id};
use uuid::Uuid;

use crate::world::{ANN, T0, World, at};

crate::scenarios! {
    a_project_is_read_as_it_was_written,
    an_update_leaves_what_was_used_alone,
    projects_are_listed_oldest_first,
    a_key_is_found_by_its_prefix,
    a_key_is_revoked_once,
    a_prefix_belongs_to_one_key,
}

async fn a_project_is_read_as_it_was_written(world: World) {
    let mut project = world.project.clone();
    project.id = new_project_id();
    project.name = "Käse \"& Söhne\"".to_owned();
    project.sandbox = true;
    project.counters.tokens = Some(7);
    project.settings = Arc::new(ProjectSettings { countries: vec!["DE".to_owned()], ..ProjectSettings::default() });
    world.store.create_project(&project).await.expect("created");
    let found = world.store.find_project(project.id.as_uuid()).await.expect("found").expect("a project");
    assert_eq!(format!("{found:?}"), format!("{project:?}"));
    assert!(world.store.find_project(Uuid::nil()).await.expect("an answer").is_none());
}

async fn an_update_leaves_what_was_used_alone(world: World) {
    world.send(T0, ANN).await;
    let mut project = world.project.clone();
    project.name = "renamed".to_owned();
    project.counters.tokens = Some(9);
    Arc::make_mut(&mut project.settings).ttl = 60;
    world.store.update_project(&project).await.expect("updated");
    let found = world.store.find_project(world.id().as_uuid()).await.expect("found").expect("a project");
    assert_eq!((found.name.as_str(), found.settings.ttl), ("renamed", 60));
    assert_eq!((found.counters.tokens, found.counters.used), (Some(9), 1));
    assert!(found.counters.rate > T0);
}

async fn projects_are_listed_oldest_first(world: World) {
    let mut older = world.project.clone();
    (older.id, older.created) = (new_project_id(), T0 - std::time::Duration::from_secs(60));
    world.store.create_project(&older).await.expect("created");
    let listed = world.store.list_projects().await.expect("projects");
    assert_eq!(listed.iter().map(|project| project.id).collect::<Vec<_>>(), [older.id, world.id()]);
}

async fn a_key_is_found_by_its_prefix(world: World) {
    let (_, key) = new_key(world.id(), Mode::Sandbox, true, T0);
    world.store.create_key(&key).await.expect("created");
    let (found, project) = world.store.find_key(&key.prefix).await.expect("found").expect("a key");
    assert_eq!((found.id, found.hash, found.mode, found.own_codes), (key.id, key.hash, Mode::Sandbox, true));
    assert_eq!((found.created, found.revoked, project.id), (T0, None, world.id()));
    assert!(world.store.find_key("nothing").await.expect("an answer").is_none());
}

async fn a_key_is_revoked_once(world: World) {
    let (_, key) = new_key(world.id(), Mode::Live, false, T0);
    world.store.create_key(&key).await.expect("created");
    assert!(world.store.revoke_key(&key.prefix, at(1)).await.expect("revoked"));
    assert!(!world.store.revoke_key(&key.prefix, at(2)).await.expect("an answer"));
    let listed = world.store.list_keys(world.id()).await.expect("keys");
    assert_eq!(listed.iter().map(|key| key.revoked).collect::<Vec<_>>(), [Some(at(1))]);
    let other = world.other_project().await;
    assert!(world.store.list_keys(other.id()).await.expect("keys").is_empty());
}

async fn a_prefix_belongs_to_one_key(world: World) {
    let (_, key) = new_key(world.id(), Mode::Live, false, T0);
    let (_, mut same) = new_key(world.id(), Mode::Live, false, T0);
    same.prefix.clone_from(&key.prefix);
    world.store.create_key(&key).await.expect("created");
    let refused = world.store.create_key(&same).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
