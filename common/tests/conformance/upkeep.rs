//! Schema, time, day keys, codes whose life is over, and the backlog.

use std::time::Duration;

use common::otp::ids::VerificationId;
use common::otp::rows::Sealed;
use common::otp::time::Timestamp;
use common::store::upkeep::Backlog;
use futures_util::future::join_all;

use crate::world::{ANN, BOB, T0, World, at};

crate::scenarios! {
    a_migrated_store_may_be_migrated_again,
    the_store_tells_the_time,
    the_first_day_key_is_kept,
    of_concurrent_day_keys_all_get_the_same,
    day_keys_are_shredded_when_their_retention_is_over,
    codes_of_the_past_are_erased,
    codes_that_live_are_not_erased,
    the_backlog_is_what_is_due,
}

async fn a_migrated_store_may_be_migrated_again(world: World) {
    assert!(world.store.is_migrated().await.expect("an answer"));
    world.store.migrate().await.expect("migrated again");
    assert!(world.store.is_migrated().await.expect("an answer"));
}

async fn the_store_tells_the_time(world: World) {
    let before = common::clock::Clock::default().now();
    let now = world.store.now().await.expect("a time");
    assert!(now + Duration::from_secs(60) > before && before + Duration::from_secs(60) > now);
}

async fn the_first_day_key_is_kept(world: World) {
    let (first, second) = (Sealed(vec![0, 1, 255]), Sealed(vec![2]));
    assert_eq!(world.store.find_day_key(world.id(), 7).await.expect("an answer"), None);
    assert_eq!(world.store.create_day_key(world.id(), 7, &first).await.expect("kept"), first);
    assert_eq!(world.store.create_day_key(world.id(), 7, &second).await.expect("kept"), first);
    assert_eq!(world.store.find_day_key(world.id(), 7).await.expect("an answer"), Some(first));
    assert_eq!(world.store.create_day_key(world.id(), 8, &second).await.expect("kept"), second);
}

async fn of_concurrent_day_keys_all_get_the_same(world: World) {
    let keys: Vec<_> = (0..8).map(|i| Sealed(vec![i])).collect();
    let kept = join_all(keys.iter().map(|key| world.store.create_day_key(world.id(), 7, key))).await;
    let kept: Vec<_> = kept.into_iter().map(|kept| kept.expect("kept")).collect();
    assert!(kept.iter().all(|key| *key == kept[0]), "{kept:?}");
}

async fn day_keys_are_shredded_when_their_retention_is_over(world: World) {
    let short = world.other_project().await;
    let mut project = short.project.clone();
    std::sync::Arc::make_mut(&mut project.settings).retention_days = 1;
    short.store.update_project(&project).await.expect("updated");
    let today = T0.day();
    for (id, day) in
        [(world.id(), today - 30), (world.id(), today - 31), (short.id(), today - 1), (short.id(), today - 2)]
    {
        world.store.create_day_key(id, day, &Sealed(vec![1])).await.expect("kept");
    }
    assert_eq!(world.store.shred_day_keys(T0).await.expect("shredded"), 2);
    let kept = async |id, day| world.store.find_day_key(id, day).await.expect("an answer").is_some();
    assert!(kept(world.id(), today - 30).await && kept(short.id(), today - 1).await);
    assert!(!kept(world.id(), today - 31).await && !kept(short.id(), today - 2).await);
    assert_eq!(world.store.shred_day_keys(T0).await.expect("shredded"), 0);
}

async fn codes_of_the_past_are_erased(world: World) {
    let early = world.send(T0, ANN).await.verification;
    let late = world.send(at(600), BOB).await.verification;
    let (from, until) = (VerificationId::floor(T0), VerificationId::floor(at(600)));
    assert_eq!(world.store.erase_codes(from, until).await.expect("erased"), 1);
    assert_eq!(world.verification(early).await.code, None);
    assert!(world.verification(late).await.code.is_some());
    assert_eq!(world.store.erase_codes(from, until).await.expect("erased"), 0);
}

async fn codes_that_live_are_not_erased(world: World) {
    let year_2100 = Timestamp::from_ms(4_102_444_800_000);
    let id = world.send(year_2100, ANN).await.verification;
    let until = VerificationId::floor(year_2100 + Duration::from_secs(1));
    assert_eq!(world.store.erase_codes(VerificationId::floor(T0), until).await.expect("erased"), 0);
    assert!(world.verification(id).await.code.is_some());
}

async fn the_backlog_is_what_is_due(world: World) {
    assert_eq!(world.store.backlog(at(5)).await.expect("a backlog"), Backlog::default());
    world.send(T0, ANN).await;
    world.send(at(10), BOB).await;
    assert_eq!(world.store.backlog(at(4)).await.expect("a backlog"), Backlog::default());
    let backlog = Backlog { due: 1, oldest: Duration::from_secs(7) };
    assert_eq!(world.store.backlog(at(12)).await.expect("a backlog"), backlog);
}
