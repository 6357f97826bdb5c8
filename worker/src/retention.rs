//! Retention: what has had its time is erased, shredded or dropped.

use std::time::Duration;

use common::clock::Clock;
use common::otp::ids::VerificationId;
use common::otp::settings::MAX_TTL;
use common::otp::time::Timestamp;
use common::store::{Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Sweeps between two rounds of shredding and of making and dropping partitions: ten minutes.
const SWEEPS_PER_ROTATION: u32 = 20;
/// How far back a program that starts looks for codes that were left to die.
const LOOK_BACK: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub struct Retention {
    pub store: Store,
    pub clock: Clock,
}

impl Retention {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut erased_until = self.clock.now() - LOOK_BACK;
        let mut sweeps = 0_u32;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let rotate = sweeps.is_multiple_of(SWEEPS_PER_ROTATION);
            sweeps = sweeps.wrapping_add(1);
            match self.round(erased_until, rotate).await {
                Ok(until) => erased_until = until,
                Err(error) => warn!(%error, "a sweep failed; the next one makes up for it"),
            }
        }
    }

    async fn round(&self, erased_until: Timestamp, rotate: bool) -> Result<Timestamp, StoreError> {
        let now = self.clock.now();
        // Whatever was opened before this has expired.
        let until = now - MAX_TTL;
        let (from, to) = (VerificationId::floor(erased_until), VerificationId::floor(until));
        let erased = self.store.erase_codes(from, to).await?;
        let swept = self.store.sweep(now).await?;
        debug!(erased, swept, "swept");
        if rotate {
            let shredded = self.store.shred_day_keys(now).await?;
            if shredded > 0 {
                info!(days = shredded, "forgot the targets of days past their retention");
            }
            self.store.rotate(now).await?;
        }
        Ok(until)
    }
}
