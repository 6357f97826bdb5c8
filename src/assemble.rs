//! The one place where concrete types meet: which store, which queue, which providers.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::sessions::SessionSettings;
use api::{Api, Binding, Doors, Health};
use axum::Router;
use common::clock::Clock;
use common::config::{Config, Role};
use common::keys::Keyring;
use common::otp::channel::Channel;
use common::otp::rows::Receipt;
use common::queue::Queue;
use common::queue::memory::MemoryQueue;
use common::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use common::queue::topology::Topology;
use common::store::Store;
use common::store::postgres::{PgBackend, PoolSettings};
use common::store::projects::Project;
use common::tenancy::Directory;
use common::vault::Vault;
use metrics_exporter_prometheus::PrometheusHandle;
use providers::inbox::StoreInbox;
use providers::registry::{self, Tools};
use providers::sandbox::{ReceiptSink, Sandbox};
use providers::{Provider, ReceiptEvent};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use worker::checks::Checks;
use worker::relay::Relay;
use worker::retention::Retention;
use worker::route::{self, Routes, Unrouted};
use worker::{Worker, consumer, health};

use crate::configured;
use crate::data_dir::{DataDir, ServerLock};
use crate::listener::{self, Port};
use crate::outcome::{Failure, Outcome};
use crate::{admin, shutdown, telemetry, upkeep};

/// How often embedded mode looks at what is due: nobody else does.
const EMBEDDED_RELAY: Duration = Duration::from_millis(200);
/// What the queue's own tasks get to confirm the last publishes.
const QUEUE_DRAIN: Duration = Duration::from_secs(3);

/// What every process has, whatever its role.
pub(crate) struct Process {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    keys: Arc<Keyring>,
    directory: Directory,
    vault: Vault,
    queue: Arc<dyn Queue>,
    metrics: PrometheusHandle,
    /// Finished before the program ends.
    tasks: TaskTracker,
    /// Ended with the program: batchers, connections, tickers.
    background: TaskTracker,
    stop: CancellationToken,
    /// Ends the queue, after the last publish.
    stop_queue: CancellationToken,
    _lock: Option<ServerLock>,
}

/// The store of an administrative command: a data directory, else PostgreSQL.
pub(crate) async fn admin_store(config: &Config, data: Option<&PathBuf>) -> Outcome<Store> {
    if let Some(data) = data {
        let store = Store::new(Arc::new(DataDir::existing(data)?.open().await?));
        store.migrate().await?;
        return Ok(store);
    }
    let missing = config.missing_for(Role::Admin);
    if !missing.is_empty() {
        let advice = "or name the data directory of `otpd dev` or `otpd serve` with --data DIR".to_owned();
        return Err(Failure::Config(missing.into_iter().chain([advice]).collect()));
    }
    postgres(config)
}

/// The keys of an administrative command: under keys.root, else under the root key in the data directory.
pub(crate) fn admin_keys(config: &Config, data: Option<&PathBuf>) -> Outcome<Keyring> {
    let root = match (config.keys.root(), data) {
        (Some(root), _) => root.clone(),
        (None, Some(data)) => DataDir::existing(data)?.existing_root_key()?,
        (None, None) => {
            let problem = "keys.root is missing: set OTPD_KEYS__ROOT to what the servers have";
            return Err(Failure::Config(vec![problem.to_owned()]));
        }
    };
    keyring(&root, config)
}

fn keyring(root: &SecretString, config: &Config) -> Outcome<Keyring> {
    Keyring::new(root, config.keys.previous()).map_err(|error| Failure::Config(vec![format!("keys.root {error}")]))
}

fn postgres(config: &Config) -> Outcome<Store> {
    let pool =
        PoolSettings { max_connections: config.store.max_connections, acquire_timeout: config.store.acquire_timeout() };
    Ok(Store::new(Arc::new(PgBackend::connect(&config.store.url, &pool)?)))
}

impl Process {
    /// A process with SQLite in `data` and a queue in memory.
    pub(crate) async fn embedded(config: Config, data: &DataDir, clock: Clock) -> Outcome<Self> {
        let lock = data.lock()?;
        let root = match config.keys.root() {
            Some(root) => root.clone(),
            None => data.root_key()?,
        };
        let store = Store::new(Arc::new(data.open().await?));
        store.migrate().await?;
        // Nobody else works here: whoever held a lease is gone.
        store.void_leases(clock.now()).await?;
        Self::new(config, store, &root, clock, Some(lock), |_, _| Ok(MemoryQueue::new()))
    }

    /// A process with PostgreSQL and RabbitMQ, called `name` at the broker.
    pub(crate) fn distributed(config: Config, name: &str, clock: Clock) -> Outcome<Self> {
        let missing = config.missing_for(Role::Distributed);
        let Some(root) = config.keys.root().filter(|_| missing.is_empty()).cloned() else {
            return Err(Failure::Config(missing));
        };
        let store = postgres(&config)?;
        let problem = |error: &dyn std::fmt::Display| Failure::Config(vec![format!("queue: {error}")]);
        let settings = RabbitSettings {
            url: config.queue.url.parse().map_err(|error| problem(&error))?,
            topology: Topology::new(&config.queue.prefix).map_err(|error| problem(&error))?,
            prefetch: config.worker.concurrency,
            connection_name: name.to_owned(),
        };
        Self::new(config, store, &root, clock, None, |tasks, stop| Ok(RabbitQueue::start(settings, tasks, stop)))
    }

    fn new<Q: Queue + 'static>(
        config: Config,
        store: Store,
        root: &SecretString,
        clock: Clock,
        lock: Option<ServerLock>,
        queue: impl FnOnce(&TaskTracker, CancellationToken) -> Outcome<Arc<Q>>,
    ) -> Outcome<Self> {
        let (tasks, background) = (TaskTracker::new(), TaskTracker::new());
        let (stop, stop_queue) = (CancellationToken::new(), CancellationToken::new());
        shutdown::on_signal(stop.clone(), &background).map_err(Failure::failed)?;
        let keys = Arc::new(keyring(root, &config)?);
        let metrics = telemetry::start_metrics(&background, &stop)?;
        let queue: Arc<dyn Queue> = queue(&background, stop_queue.clone())?;
        background.spawn(upkeep::follow_clock(store.clone(), clock.clone(), stop.clone()));
        Ok(Self {
            directory: Directory::new(store.clone()),
            vault: Vault::new(store.clone(), Arc::clone(&keys)),
            config,
            store,
            clock,
            keys,
            queue,
            metrics,
            tasks,
            background,
            stop,
            stop_queue,
            _lock: lock,
        })
    }

    pub(crate) fn health(&self) -> Health {
        Health::new(self.store.clone(), Arc::clone(&self.queue), self.directory.clone())
    }

    pub(crate) fn admin_router(&self, health: &Health) -> Router {
        admin::router(health.clone(), self.metrics.clone())
    }

    /// The providers of the settings and of the environment, and the routes over them.
    pub(crate) fn routes(&self, unrouted: Unrouted) -> Outcome<Arc<Routes>> {
        let tools = self.tools()?;
        let configured = configured::settings(&self.config);
        configured::warnings(&self.config).into_iter().for_each(|warning| warn!("{warning}"));
        let built = registry::build(&configured, &tools);
        let (caps, providers) = configured::both(configured::caps(&self.config), built).map_err(Failure::Config)?;
        let providers = providers.into_iter().filter(|provider| provider.name() != providers::sandbox::NAME).collect();
        let sandbox: Arc<dyn Provider> = Arc::new(Sandbox::new(&tools));
        let (settings, places) = (&self.config.routes, self.config.worker.provider_concurrency);
        let routes = Routes::new(settings, providers, sandbox, unrouted, &caps, places).map_err(Failure::Config)?;
        Ok(Arc::new(routes))
    }

    fn tools(&self) -> Outcome<Tools> {
        let (store, clock, tasks) = (self.store.clone(), self.clock.clone(), self.background.clone());
        Ok(Tools {
            http: providers::http::client().map_err(Failure::failed)?,
            inbox: Arc::new(StoreInbox::start(store.clone(), Arc::clone(&self.keys), clock.clone(), &tasks)),
            receipts: Arc::new(StoreReceipts { store, clock: clock.clone(), tasks: tasks.clone() }),
            tasks,
            clock,
        })
    }

    /// The API over these routes. A development project stands behind every door that has no other.
    pub(crate) fn api(&self, routes: &Routes, development: Option<&Project>) -> Outcome<Api> {
        let live: HashSet<Channel> = Channel::ALL.into_iter().filter(|channel| routes.carries(*channel)).collect();
        let live_in_sandbox = routes.all().len() == 1 && !live.is_empty();
        let doors = doors(&self.config, development).map_err(|problem| Failure::Config(vec![problem]))?;
        let parts = api::Parts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            directory: self.directory.clone(),
            vault: self.vault.clone(),
            queue: Arc::clone(&self.queue),
            providers: routes.all().iter().map(|slot| Arc::clone(&slot.provider)).collect(),
            live_channels: live,
            live_in_sandbox,
            public_url: self.config.server.public_url().map(str::to_owned),
            trusted_proxies: self.config.server.trusted_proxies(),
            sessions: self.sessions(),
            log_sample: self.config.log.sample,
            health: self.health().with_doors(&doors),
            doors,
        };
        Ok(Api::new(parts, &self.background))
    }

    fn sessions(&self) -> SessionSettings {
        let (sessions, public_url) = (&self.config.sessions, self.config.server.public_url());
        let issuer = sessions.issuer().or(public_url).unwrap_or("otpd").to_owned();
        SessionSettings { issuer, secret: sessions.secret().cloned() }
    }

    /// Starts to consume and deliver.
    pub(crate) fn start_worker(&self, routes: Arc<Routes>) -> Outcome {
        self.background.spawn(route::report(Arc::clone(&routes), self.clock.clone(), self.stop.clone()));
        let (store, clock, stop) = (self.store.clone(), self.clock.clone(), self.stop.clone());
        self.background.spawn(health::run(Arc::clone(&routes), store, clock, stop));
        self.start_checks(&routes);
        let parts = worker::dispatch::Parts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            directory: self.directory.clone(),
            vault: self.vault.clone(),
            routes,
            provider_timeout: self.config.worker.provider_timeout(),
            receipts_url: self.config.server.public_url().map(|url| format!("{url}/receipts")),
            stop: self.stop.clone(),
        };
        let worker = Worker::new(parts, &self.background).map_err(Failure::failed)?;
        let (queue, concurrency) = (Arc::clone(&self.queue), self.config.worker.concurrency);
        let consumer = consumer::run(queue, worker, concurrency, self.tasks.clone(), self.stop.clone());
        self.tasks.spawn(consumer);
        let retention = Retention { store: self.store.clone(), clock: self.clock.clone() };
        self.background.spawn(retention.run(self.stop.clone()));
        Ok(())
    }

    /// Starts to check the providers, the first time at once, while the worker goes on.
    fn start_checks(&self, routes: &Arc<Routes>) {
        let Some(every) = self.config.worker.provider_check_every() else { return };
        let examiner = configured::examiner(&self.config, self.clock.clone());
        let checks = Checks { routes: Arc::clone(routes), examiner, clock: self.clock.clone(), every };
        self.background.spawn(checks.run(self.stop.clone()));
    }

    /// Starts to publish what is due.
    pub(crate) fn start_relay(&self, role: Role) {
        let interval = if role == Role::Embedded { EMBEDDED_RELAY } else { self.config.relay.interval() };
        let (store, queue, clock) = (self.store.clone(), Arc::clone(&self.queue), self.clock.clone());
        self.background.spawn(Relay { store, queue, clock, interval }.run(self.stop.clone()));
    }

    /// Serves on a port until the program stops; answers its address.
    pub(crate) fn serve(&self, port: Port, router: Router) -> Outcome<SocketAddr> {
        let address = port.address();
        listener::serve(port, router, &self.tasks, self.stop.clone())?;
        Ok(address)
    }

    /// Waits for PostgreSQL and its schema; `false` when told to stop before.
    pub(crate) async fn wait_for_store(&self) -> bool {
        let url = &self.config.store.url;
        let place = url.rsplit_once('@').map_or(url.as_str(), |(_, place)| place);
        let place = place.split(['/', '?']).next().unwrap_or_default();
        upkeep::wait_for_store(&self.store, &self.clock, place, &self.stop).await
    }

    /// Goes on until told to stop, then finishes what has begun.
    pub(crate) async fn run(self) -> Outcome {
        self.stop.cancelled().await;
        let grace = self.config.server.shutdown_grace();
        shutdown::drain(&self.tasks, grace).await;
        // What is not confirmed by then is due and comes again.
        let _ = tokio::time::timeout(QUEUE_DRAIN, self.queue.drain()).await;
        self.stop_queue.cancel();
        Ok(())
    }
}

/// Which project stands behind each door; a development project behind every one that has no other.
pub(crate) fn doors(config: &Config, development: Option<&Project>) -> Result<Doors, String> {
    let settings = &config.doors;
    let development = development.map(|project| project.id.as_uuid());
    let binding = |door: &common::config::Door| Binding {
        project: door.project().or(development),
        region: door.default_region().map(str::to_owned),
    };
    let secrets = settings.supabase.secrets();
    let supabase = settings.supabase.project().or(development).filter(|_| !secrets.is_empty());
    let supabase = supabase.map(|project| api::Supabase::new(project, &secrets)).transpose();
    Ok(Doors {
        login: binding(&settings.login),
        oneport: binding(&settings.oneport),
        mobile: binding(&settings.mobile),
        // In the login door's project, whose tokens `/api/me` takes.
        demo: Binding { project: development.and(binding(&settings.login).project), region: None },
        supabase: supabase.map_err(|problem| format!("doors.supabase.secrets: each {problem}"))?,
        loopback_origins: development.is_some(),
    })
}

/// Receipts that come from inside the program go straight to the store.
#[derive(Debug)]
struct StoreReceipts {
    store: Store,
    clock: Clock,
    tasks: TaskTracker,
}

impl ReceiptSink for StoreReceipts {
    fn receive(&self, provider: &str, event: ReceiptEvent) {
        let receipt = Receipt {
            id: uuid::Uuid::now_v7(),
            provider: provider.to_owned(),
            message_id: event.message_id,
            attempt: event.attempt,
            status: event.status,
            detail: event.detail,
            received: self.clock.now(),
        };
        let store = self.store.clone();
        self.tasks.spawn(async move {
            if let Err(error) = store.receive(receipt.received, &[receipt]).await {
                warn!(%error, "a receipt of the sandbox was lost");
            }
        });
    }
}
