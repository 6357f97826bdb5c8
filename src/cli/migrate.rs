//! `otpd migrate`: brings the schema in PostgreSQL up to date. Safe to run twice, and by several at once.

use clap::Args;
use common::config::{Flags, Role};
use common::retry::RetryPolicy;
use common::store::StoreError;
use tracing::{info, warn};

use super::Common;
use crate::assemble::admin_store;
use crate::outcome::{Failure, Outcome};
use crate::telemetry;

/// How often a database that is not there yet is tried: about a minute in all.
const TRIES: usize = 12;

/// Bring the schema in PostgreSQL up to date
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    common: Common,
}

impl Migrate {
    pub(super) async fn run(self) -> Outcome {
        let config = self.common.load(&Flags::new())?;
        telemetry::start_log(&config.log)?;
        let missing = config.missing_for(Role::Admin);
        if !missing.is_empty() {
            return Err(Failure::Config(missing));
        }
        let store = admin_store(&config, None).await?;
        let mut delays = RetryPolicy::RECONNECT.delays();
        for _ in 0..TRIES {
            match store.migrate().await {
                Ok(()) => {
                    info!("the schema is up to date");
                    return Ok(());
                }
                Err(StoreError::Unavailable(error)) => warn!(error, "waiting for PostgreSQL"),
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(delays.next_delay()).await;
        }
        Err(Failure::failed("PostgreSQL did not come: is store.url right?"))
    }
}
