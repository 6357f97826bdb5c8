//! Vendors to rehearse with: each one's wire shapes on one port, as its documentation has them and not as our adapters
//! do, so that what those get wrong shows. It sends nothing to anybody but receipts to otpd.

mod behaviour;
mod config;
mod control;
mod crypto;
mod magic;
mod play;
mod post;
mod state;
mod vendors;
mod wire;

use std::sync::Arc;

use axum::Router;
use common::clock::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use state::Refused;

use state::Shared;

/// The vendors, played. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
}

/// Where the simulator stands among the others.
#[derive(Debug)]
pub struct Parts {
    /// Its own address, as otpd calls it: `http://127.0.0.1:8085`.
    pub url: String,
    /// The address of otpd: where receipts go that no request carries a callback for.
    pub receipts_to: String,
    pub clock: Clock,
    /// Receipts are on their way in these.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

impl Simulator {
    /// Plays the vendors of these names, or all.
    ///
    /// # Errors
    /// When there is no vendor of a name, an address is none, or the system has no usable TLS configuration.
    pub fn new(parts: Parts, names: &[String]) -> Result<Self, Refused> {
        let vendors = vendors::named(names, &parts.url)?;
        Ok(Self { shared: Arc::new(Shared::new(parts, vendors)?) })
    }

    /// Changes how a vendor behaves, or all of them: `answer`, `latency`, `errors` or `receipts`.
    ///
    /// # Errors
    /// When there is no such vendor, or the value means nothing.
    pub fn order(&self, vendor: Option<&str>, what: &str, value: &str) -> Result<(), Refused> {
        self.shared.order(vendor, &[(what, value)])
    }

    /// What answers on the port.
    pub fn router(&self) -> Router {
        control::routes().fallback(play::play).with_state(Arc::clone(&self.shared))
    }

    /// The settings that point otpd here, as a file of them.
    #[must_use]
    pub fn config(&self) -> String {
        config::toml(&self.shared)
    }
}
