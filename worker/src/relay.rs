//! The relay: looks at what is due and publishes it, as much as the queue has room for.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::queue::{Job, Queue};
use common::store::{Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::telemetry;

/// Rows that one look takes at most.
const MOST: u32 = 500;
/// Rows that one look takes at least, so that what is dead ends even while the queue is full.
const LEAST: u32 = 50;
/// Looks between two readings of the backlog and two joinings of parked receipts.
const LOOKS_PER_UPKEEP: u32 = 10;
/// Parked receipts are joined for an hour.
const PARKED: Duration = Duration::from_secs(3600);
const JOINED_AT_ONCE: u32 = 500;

#[derive(Debug)]
pub struct Relay {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    pub clock: Clock,
    pub interval: Duration,
}

impl Relay {
    /// Looks every interval until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looks, mut is_away) = (0_u32, false);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let looked = self.look(looks.is_multiple_of(LOOKS_PER_UPKEEP)).await;
            looks = looks.wrapping_add(1);
            match &looked {
                Ok(()) if is_away => info!("the relay works again"),
                Err(error) if !is_away => warn!(%error, "the relay waits for the store"),
                Err(StoreError::Refused(error)) => warn!(error, "the relay was refused"),
                _ => {}
            }
            is_away = looked.is_err();
        }
    }

    async fn look(&self, with_upkeep: bool) -> Result<(), StoreError> {
        if with_upkeep {
            self.upkeep().await?;
        }
        loop {
            let room = self.queue.room().await;
            let limit = room.clamp(LEAST, MOST);
            let jobs = self.store.relay(self.clock.now(), limit, room, &mut || rand::random()).await?;
            let found = jobs.len();
            for job in jobs {
                self.queue.publish(Job { attempt: job.attempt, deadline: job.deadline });
            }
            if found > 0 {
                debug!(jobs = found, room, "the relay found work");
            }
            if found < room.min(limit) as usize || room == 0 {
                return Ok(());
            }
        }
    }

    async fn upkeep(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let backlog = self.store.backlog(now).await?;
        telemetry::backlog(backlog.due, backlog.oldest);
        self.store.join_receipts(now, now - PARKED, JOINED_AT_ONCE).await?;
        Ok(())
    }
}
