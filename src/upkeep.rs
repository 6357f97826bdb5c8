//! What every process does beside its work: follow the store's clock, and wait for servers that are not there yet.

use std::time::Duration;

use api::Health;
use common::clock::Clock;
use common::retry::RetryPolicy;
use common::store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const FOLLOW_EVERY: Duration = Duration::from_secs(10);

/// Follows the store's clock until `stop`.
pub(crate) async fn follow_clock(store: Store, clock: Clock, stop: CancellationToken) {
    while tokio::time::timeout(FOLLOW_EVERY, stop.cancelled()).await.is_err() {
        // A store that is away is the business of those who need it.
        let _ = follow_once(&store, &clock).await;
    }
}

async fn follow_once(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    let before = clock.now();
    let theirs = store.now().await?;
    clock.follow(theirs, before, clock.now());
    Ok(())
}

/// Says which doors the configuration binds in vain.
pub(crate) async fn warn_of_closed_doors(health: &Health) {
    for problem in health.closed_doors().await {
        warn!("{problem}");
    }
}

/// Waits until the store answers and has this program's schema; `false` when told to stop before.
pub(crate) async fn wait_for_store(store: &Store, clock: &Clock, place: &str, stop: &CancellationToken) -> bool {
    let mut delays = RetryPolicy::RECONNECT.delays();
    let mut said = None;
    loop {
        let waits_for = match store.is_migrated().await {
            Ok(true) => match follow_once(store, clock).await {
                Ok(()) => {
                    if said.is_some() {
                        info!(store.place = place, "the store is there");
                    }
                    return true;
                }
                Err(error) => format!("PostgreSQL at {place}: {error}"),
            },
            Ok(false) => format!("the schema in PostgreSQL at {place}: run `otpd migrate`"),
            Err(error) => format!("PostgreSQL at {place}: {error}"),
        };
        if said.as_ref() != Some(&waits_for) {
            warn!("waiting for {waits_for}");
            said = Some(waits_for);
        }
        if tokio::time::timeout(delays.next_delay(), stop.cancelled()).await.is_ok() {
            return false;
        }
    }
}
