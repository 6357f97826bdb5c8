//! A connection that is built again for ever. Its users wait for it, and report it as broken when they find it so.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Channel, Connection, Event};
use metrics::gauge;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::RabbitSettings;
use super::dial::{Socket, dial, words};
use crate::queue::meters;
use crate::retry::RetryPolicy;

/// A connection that lasted this long was a good one: the next waits begin short again.
const STABLE: Duration = Duration::from_secs(10);
/// lapin tells of most ends, but not of all.
const LOOK: Duration = Duration::from_millis(250);
const POLITE: Duration = Duration::from_secs(1);

/// A handle on one supervised connection.
#[derive(Debug, Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
}

#[derive(Debug, Clone)]
enum State {
    Waiting(String),
    Up(Arc<Up>),
}

/// A connection that is, or was, there.
#[derive(Debug)]
pub(super) struct Up {
    connection: Connection,
    socket: Arc<Socket>,
    broken: CancellationToken,
    reason: OnceLock<String>,
}

impl Link {
    /// Begins to connect. `role` tells the connections of one process apart.
    pub(super) fn start(
        role: &'static str,
        settings: Arc<RabbitSettings>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (sender, state) = watch::channel(State::Waiting("not connected yet".to_owned()));
        let supervisor = Supervisor { role, settings, state: sender };
        tasks.spawn(supervisor.run(stop));
        Self { state }
    }

    /// Waits for the connection; `None` when the program stops.
    pub(super) async fn up(&self) -> Option<Arc<Up>> {
        let mut state = self.state.clone();
        loop {
            if let State::Up(up) = &*state.borrow_and_update()
                && !up.broken.is_cancelled()
            {
                return Some(Arc::clone(up));
            }
            state.changed().await.ok()?;
        }
    }

    /// The connection, or why there is none.
    pub(super) fn now(&self) -> Result<Arc<Up>, String> {
        match &*self.state.borrow() {
            State::Waiting(why) => Err(why.clone()),
            State::Up(up) if up.broken.is_cancelled() => Err(up.reason()),
            State::Up(up) => Ok(Arc::clone(up)),
        }
    }
}

impl Up {
    pub(super) async fn channel(&self) -> Result<Channel, String> {
        self.connection.create_channel().await.map_err(|error| words(&error))
    }

    /// True while the broker is short of memory or disk: it reads nothing, and what is written piles up here.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Says that this connection is of no use: it is closed and another is made, after a wait.
    pub(super) fn give_up(&self, why: String) {
        let _ = self.reason.set(why);
        self.broken.cancel();
    }

    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    fn reason(&self) -> String {
        self.reason.get().map_or_else(|| "the connection was lost".to_owned(), Clone::clone)
    }

    /// Waits until the connection ends or somebody gives it up, and closes it for good.
    async fn end(&self, role: &str) -> String {
        let mut events = Box::pin(self.connection.events_listener());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.connection.status().connected() {
            tokio::select! {
                () = self.broken() => break,
                event = events.next() => match event {
                    Some(Event::Error(error)) => self.give_up(words(&error)),
                    Some(Event::ConnectionBlocked(why)) => {
                        warn!(queue.connection = role, error = why, "RabbitMQ takes no jobs for now");
                    }
                    Some(Event::ConnectionUnblocked) => info!(queue.connection = role, "RabbitMQ takes jobs again"),
                    _ => {}
                },
                _ = look.tick() => {}
            }
        }
        self.broken.cancel();
        if self.connection.status().connected() {
            // Whether the broker answers does not matter: the socket goes.
            let _ = timeout(POLITE, self.connection.close(200, "given up".into())).await;
        }
        self.socket.cut();
        self.reason()
    }
}

struct Supervisor {
    role: &'static str,
    settings: Arc<RabbitSettings>,
    state: watch::Sender<State>,
}

impl Supervisor {
    async fn run(self, stop: CancellationToken) {
        // Whoever still uses the connection keeps it alive until it is done.
        stop.run_until_cancelled(Box::pin(self.keep_up())).await;
        gauge!(meters::CONNECTED, "connection" => self.role).set(0);
        self.state.send_replace(State::Waiting("the program is stopping".to_owned()));
    }

    async fn keep_up(&self) {
        let mut delays = RetryPolicy::RECONNECT.delays();
        let mut told = None;
        loop {
            let began = Instant::now();
            let why = match Box::pin(dial(&self.settings)).await {
                Ok((connection, socket)) => {
                    told = None;
                    self.hold(connection, socket).await
                }
                Err(why) => why,
            };
            self.state.send_replace(State::Waiting(why.clone()));
            if began.elapsed() > STABLE {
                delays.reset();
            }
            if told.as_ref() != Some(&why) {
                let broker = self.settings.url.to_string();
                warn!(
                    queue.connection = self.role,
                    queue.broker = broker,
                    error = why,
                    "waiting for RabbitMQ at {broker}"
                );
                told = Some(why);
            }
            sleep(delays.next_delay()).await;
        }
    }

    async fn hold(&self, connection: Connection, socket: Arc<Socket>) -> String {
        let broken = CancellationToken::new();
        let up = Arc::new(Up { connection, socket, broken, reason: OnceLock::new() });
        let connected = gauge!(meters::CONNECTED, "connection" => self.role);
        info!(queue.connection = self.role, queue.broker = %self.settings.url, "connected to RabbitMQ");
        connected.set(1);
        self.state.send_replace(State::Up(Arc::clone(&up)));
        let why = up.end(self.role).await;
        connected.set(0);
        why
    }
}
