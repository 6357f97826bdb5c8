//! What every door shares: the store behind its batchers, the queue, keys and time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::batch::{Batcher, Pace};
use common::clock::Clock;
use common::otp::accept::{Accept, Accepted, Refusal};
use common::otp::channel::Channel;
use common::otp::guess::{Guess, Verdict};
use common::otp::receipt::Received;
use common::otp::rows::Receipt;
use common::queue::Queue;
use common::store::Store;
use common::tenancy::Directory;
use common::vault::Vault;
use ipnet::IpNet;
use providers::Provider;
use tokio_util::task::TaskTracker;

use crate::doors::Doors;
use crate::health::Health;
use crate::sessions::{SessionSettings, Sessions};
use crate::verify::Gate;

/// While the store has one batch of guesses, this process has little else to do for those who guess.
const GUESSES: Pace = Pace { gathered: Duration::ZERO, at_once: 2 };

/// What an API is made of.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub clock: Clock,
    pub directory: Directory,
    pub vault: Vault,
    pub queue: Arc<dyn Queue>,
    /// Whose receipts are taken.
    pub providers: Vec<Arc<dyn Provider>>,
    /// Channels over which live messages can go.
    pub live_channels: HashSet<Channel>,
    /// Live messages go to the sandbox inbox, and whoever reads that sees them: `otpd dev` without providers.
    pub live_in_sandbox: bool,
    pub public_url: Option<String>,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub doors: Doors,
    pub sessions: SessionSettings,
    /// One in so many successful requests is logged.
    pub log_sample: u64,
    pub health: Health,
}

/// The state of every handler. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(Arc<Inner>);

/// What is behind an [`Api`]; for this crate alone.
#[derive(Debug)]
pub struct Inner {
    pub(crate) parts: Parts,
    pub(crate) accepts: Batcher<Accept, Result<Accepted, Refusal>>,
    pub(crate) guesses: Batcher<Guess, Verdict>,
    pub(crate) receipts: Batcher<Receipt, Received>,
    pub(crate) gate: Gate,
    pub(crate) sessions: Sessions,
    /// Requests answered so far, for sampling the log.
    pub(crate) answered: AtomicU64,
}

impl std::ops::Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Api {
    /// Starts the batchers.
    #[must_use]
    pub fn new(parts: Parts, tasks: &TaskTracker) -> Self {
        let (store, clock) = (parts.store.clone(), parts.clock.clone());
        let accepts = Batcher::start("accept", tasks, move |batch: Arc<[Accept]>| {
            let (store, now) = (store.clone(), clock.now());
            async move { store.accept(now, &batch).await }
        });
        let (store, clock, vault) = (parts.store.clone(), parts.clock.clone(), parts.vault.clone());
        let guesses = Batcher::start_at("verify", tasks, GUESSES, move |batch: Arc<[Guess]>| {
            let (store, now, vault) = (store.clone(), clock.now(), vault.clone());
            async move { store.verify(now, vault.keys(), &batch).await }
        });
        let (store, clock) = (parts.store.clone(), parts.clock.clone());
        let receipts = Batcher::start("receipt", tasks, move |batch: Arc<[Receipt]>| {
            let (store, now) = (store.clone(), clock.now());
            async move { store.receive(now, &batch).await }
        });
        let (store, clock, vault) = (parts.store.clone(), parts.clock.clone(), parts.vault.clone());
        let sessions = Sessions::new(parts.sessions.clone(), store, clock, vault);
        let (gate, answered) = (Gate::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { parts, accepts, guesses, receipts, gate, sessions, answered }))
    }

    #[must_use]
    pub fn health(&self) -> &Health {
        &self.parts.health
    }

    /// Takes what a provider says about its messages, from within the program.
    ///
    /// # Errors
    /// When it cannot be written now.
    pub async fn receive(
        &self,
        provider: &str,
        event: providers::ReceiptEvent,
    ) -> Result<(), common::batch::BatchError> {
        crate::receipts::receive(self, provider, event).await
    }
}
