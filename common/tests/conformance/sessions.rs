//! Users, their sessions, and the keys that sign.

use common::keys::{IndexKind, Keyring};
use common::otp::channel::Channel;
use common::otp::rows::{Index, Indexes, Sealed};
use common::store::sessions::{Session, SessionKey};
use common::store::{Store, StoreError};
use futures_util::future::join_all;
use secrecy::SecretString;
use uuid::Uuid;

use crate::world::{ANN, BOB, T0, World, at, only};

crate::scenarios! {
    a_user_is_who_holds_the_target_in_the_project,
    of_concurrent_logins_all_are_the_same_user,
    a_user_is_found_under_an_older_root_and_kept_under_the_newest,
    of_concurrent_logins_under_two_orders_of_roots_all_are_the_same_user,
    a_session_is_read_as_it_was_written,
    a_session_is_renewed_from_its_generation_only,
    of_concurrent_renewals_one_succeeds,
    an_ended_session_is_not_renewed,
    an_expired_session_is_not_renewed,
    a_session_ends_once,
    old_sessions_are_swept,
    more_sessions_than_a_step_are_swept,
    signing_keys_are_listed_last_to_sign_first,
    a_name_belongs_to_one_signing_key,
    all_signing_keys_but_one_are_made_void,
}

const DAY: u64 = 86_400;

async fn user_of(world: &World, target: &Indexes) -> Uuid {
    world.store.user_of(world.id(), target, Uuid::now_v7(), T0).await.expect("a user")
}

async fn a_user_is_who_holds_the_target_in_the_project(world: World) {
    let (ann, bob, new) = (world.indexes(ANN), world.indexes(BOB), Uuid::now_v7());
    assert_eq!(world.store.user_of(world.id(), &ann, new, T0).await.expect("a user"), new);
    assert_eq!(user_of(&world, &ann).await, new);
    assert_ne!(user_of(&world, &bob).await, new);
    assert_ne!(user_of(&world.other_project().await, &ann).await, new);
}

async fn of_concurrent_logins_all_are_the_same_user(world: World) {
    for n in 0..5 {
        let target = world.indexes(&format!("{n}@example.com"));
        let users = join_all((0..12).map(|_| user_of(&world, &target))).await;
        assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
    }
}

fn target_under(newest: &str, older: &[&str]) -> Indexes {
    let root = |byte: &str| SecretString::from(byte.repeat(32));
    let older: Vec<_> = older.iter().map(|byte| root(byte)).collect();
    Keyring::new(&root(newest), &older).expect("root keys").indexes(IndexKind::Target, &[ANN.as_bytes()])
}

async fn a_user_is_found_under_an_older_root_and_kept_under_the_newest(world: World) {
    let user = user_of(&world, &target_under("01", &[])).await;
    assert_eq!(user_of(&world, &target_under("02", &["01"])).await, user);
    assert_eq!(user_of(&world, &target_under("02", &[])).await, user, "the older root is listed no more");
    assert_eq!(user_of(&world, &target_under("01", &["02"])).await, user);
    assert_ne!(user_of(&world, &target_under("03", &[])).await, user);
}

async fn of_concurrent_logins_under_two_orders_of_roots_all_are_the_same_user(world: World) {
    for n in 0..8 {
        let (one, two): (Index, Index) = ([n; 16], [n + 100; 16]);
        let orders = [
            Indexes { newest: one, older: Box::new([two]) },
            Indexes { newest: two, older: Box::new([one]) },
            only(if n % 2 == 0 { one } else { two }),
        ];
        let users = join_all((0..12).map(|i| user_of(&world, &orders[i % 3]))).await;
        assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
    }
}

/// A session that lives for an hour.
async fn begin(world: &World) -> Session {
    let session = Session {
        id: Uuid::now_v7(),
        project: world.id(),
        user: Uuid::now_v7(),
        channel: Channel::Whatsapp,
        generation: 1,
        created: T0,
        expires: at(3600),
        ended: None,
    };
    world.store.create_session(&session).await.expect("created");
    session
}

async fn find(store: &Store, id: Uuid) -> Session {
    store.find_session(id).await.expect("found").expect("a session")
}

async fn renew(world: &World, id: Uuid, generation: i32, seconds: u64) -> bool {
    world.store.renew_session(id, generation, at(seconds + 3600), at(seconds)).await.expect("an answer")
}

async fn a_session_is_read_as_it_was_written(world: World) {
    let session = begin(&world).await;
    assert_eq!(find(&world.store, session.id).await, session);
    let ended = Session { id: Uuid::now_v7(), ended: Some(at(9)), ..session };
    world.store.create_session(&ended).await.expect("created");
    assert_eq!(find(&world.store, ended.id).await, ended);
    assert_eq!(world.store.find_session(Uuid::nil()).await.expect("an answer"), None);
}

async fn a_session_is_renewed_from_its_generation_only(world: World) {
    let session = begin(&world).await;
    assert!(!renew(&world, session.id, 0, 1).await && !renew(&world, session.id, 2, 1).await);
    assert!(renew(&world, session.id, 1, 5).await);
    let renewed = Session { generation: 2, expires: at(3605), ..session.clone() };
    assert_eq!(find(&world.store, session.id).await, renewed);
    assert!(!renew(&world, session.id, 1, 6).await, "it has been spent");
    assert!(!renew(&world, Uuid::nil(), 1, 6).await);
    assert_eq!(find(&world.store, session.id).await, renewed);
}

async fn of_concurrent_renewals_one_succeeds(world: World) {
    let id = begin(&world).await.id;
    for generation in 1..6 {
        let renewed = join_all((0..12).map(|_| renew(&world, id, generation, 1))).await;
        assert_eq!(renewed.iter().filter(|renewed| **renewed).count(), 1);
    }
    assert_eq!(find(&world.store, id).await.generation, 6);
}

async fn an_ended_session_is_not_renewed(world: World) {
    let session = begin(&world).await;
    assert!(world.store.end_session(session.id, at(1)).await.expect("ended"));
    assert!(!renew(&world, session.id, 1, 2).await);
    assert_eq!(find(&world.store, session.id).await, Session { ended: Some(at(1)), ..session });
}

async fn an_expired_session_is_not_renewed(world: World) {
    let session = begin(&world).await;
    assert!(!renew(&world, session.id, 1, 3600).await);
    assert!(renew(&world, session.id, 1, 3599).await);
}

async fn a_session_ends_once(world: World) {
    let session = begin(&world).await;
    assert!(world.store.end_session(session.id, at(1)).await.expect("ended"));
    assert!(!world.store.end_session(session.id, at(2)).await.expect("an answer"));
    assert!(!world.store.end_session(Uuid::nil(), at(2)).await.expect("an answer"));
    assert_eq!(find(&world.store, session.id).await.ended, Some(at(1)));
}

async fn old_sessions_are_swept(world: World) {
    let (old, renewed) = (begin(&world).await.id, begin(&world).await.id);
    assert!(renew(&world, renewed, 1, 60).await);
    assert_eq!(world.store.sweep(at(3600 + DAY)).await.expect("swept"), 0);
    assert_eq!(world.store.sweep(at(3601 + DAY)).await.expect("swept"), 1);
    assert_eq!(world.store.find_session(old).await.expect("an answer"), None);
    assert_eq!(find(&world.store, renewed).await.generation, 2);
}

async fn more_sessions_than_a_step_are_swept(world: World) {
    for _ in 0..15 {
        join_all((0..75).map(|_| begin(&world))).await;
    }
    assert_eq!(world.store.sweep(at(3601 + DAY)).await.expect("swept"), 1125);
}

fn key(kid: &str, signs_from: u64) -> SessionKey {
    SessionKey {
        kid: kid.to_owned(),
        sealed: Sealed(vec![0, 1, 255]),
        public: [7; 32],
        created: T0,
        signs_from: at(signs_from),
        revoked: None,
    }
}

async fn signing_keys_are_listed_last_to_sign_first(world: World) {
    assert_eq!(world.store.session_keys().await.expect("keys"), []);
    let void = SessionKey { revoked: Some(at(3)), ..key("d", 0) };
    let keys = [void, key("b", 10), key("c", 10), key("a", 20)];
    for key in &keys {
        world.store.add_session_key(key).await.expect("added");
    }
    let [void, b, c, a] = keys;
    let listed = world.store.session_keys().await.expect("keys");
    assert_eq!(listed, [a, c, b, void]);
    assert_eq!(format!("{:?}", listed[0]), "SessionKey(a)");
}

async fn a_name_belongs_to_one_signing_key(world: World) {
    world.store.add_session_key(&key("a", 0)).await.expect("added");
    let refused = world.store.add_session_key(&key("a", 1)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}

async fn all_signing_keys_but_one_are_made_void(world: World) {
    let void = SessionKey { revoked: Some(at(3)), ..key("d", 0) };
    for key in [key("a", 0), key("b", 10), key("c", 20), void] {
        world.store.add_session_key(&key).await.expect("added");
    }
    assert_eq!(world.store.revoke_session_keys("b", at(5)).await.expect("revoked"), 2);
    assert_eq!(world.store.revoke_session_keys("b", at(6)).await.expect("an answer"), 0);
    let listed = world.store.session_keys().await.expect("keys");
    let revoked: Vec<_> = listed.iter().map(|key| (key.kid.as_str(), key.revoked)).collect();
    assert_eq!(revoked, [("c", Some(at(5))), ("b", None), ("d", Some(at(3))), ("a", Some(at(5)))]);
}
