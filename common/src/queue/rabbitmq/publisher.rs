//! The one task that publishes. It alone uses its channel: two tasks on one could swap delivery tags.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use metrics::{Counter, counter};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial::words;
use super::link::{Link, Up};
use crate::queue::topology::Topology;
use crate::queue::{Job, meters};

/// Jobs that may wait for the publisher.
const WAITING: usize = 10_000;
/// Jobs on their way to the broker. Each confirm scans them all, so more would be slower.
const WINDOW: usize = 512;
/// From publish to confirm.
const PATIENCE: Duration = Duration::from_secs(5);
/// With nothing but lost confirms for this long, the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(10);
const PERSISTENT: u8 = 2;

#[derive(Debug)]
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
    unfinished: Arc<Unfinished>,
}

/// Jobs accepted and neither confirmed nor given up.
#[derive(Debug, Default)]
struct Unfinished {
    count: AtomicUsize,
    none: Notify,
}

impl Publisher {
    pub(super) fn start(link: Link, topology: &Topology, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (sender, jobs) = mpsc::channel(WAITING);
        let unfinished = Arc::new(Unfinished::default());
        let owner = Owner {
            link,
            exchange: topology.exchange().into(),
            routing_key: topology.routing_key().into(),
            jobs,
            unfinished: Arc::clone(&unfinished),
            stop,
        };
        tasks.spawn(owner.run());
        Self { jobs: sender, unfinished }
    }

    pub(super) fn publish(&self, job: Job) {
        self.unfinished.count.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = self.jobs.try_send(job) {
            self.unfinished.finish(1);
            let reason = if matches!(error, mpsc::error::TrySendError::Full(_)) { "full" } else { "stopped" };
            counter!(meters::DROPPED, "reason" => reason).increment(1);
        }
    }

    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.count.load(Ordering::Acquire)
    }

    pub(super) async fn drain(&self) {
        loop {
            let none = self.unfinished.none.notified();
            tokio::pin!(none);
            none.as_mut().enable();
            if self.unfinished() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Unfinished {
    fn finish(&self, jobs: usize) {
        if self.count.fetch_sub(jobs, Ordering::AcqRel) == jobs {
            self.none.notify_waiters();
        }
    }
}

enum Outcome {
    Confirmed,
    Refused(&'static str),
    TimedOut,
    Lost(lapin::Error),
}

struct Owner {
    link: Link,
    exchange: ShortString,
    routing_key: ShortString,
    jobs: mpsc::Receiver<Job>,
    unfinished: Arc<Unfinished>,
    stop: CancellationToken,
}

impl Owner {
    /// Publishes while there is a connection and drops what comes while there is none, until the program stops.
    async fn run(mut self) {
        loop {
            let link = self.link.clone();
            let up = tokio::select! {
                up = link.up() => up,
                () = self.discard("away") => None,
            };
            let Some(up) = up else { break };
            match open(&up).await {
                Ok(channel) => self.publish_on(&up, &channel).await,
                Err(why) => up.give_up(why),
            }
        }
        self.jobs.close();
        self.discard("stopped").await;
    }

    async fn discard(&mut self, reason: &'static str) {
        let mut jobs = Vec::with_capacity(WINDOW);
        while self.jobs.recv_many(&mut jobs, WINDOW).await > 0 {
            self.drop_all(&mut jobs, reason);
        }
    }

    fn drop_all(&self, jobs: &mut Vec<Job>, reason: &'static str) {
        counter!(meters::DROPPED, "reason" => reason).increment(jobs.len() as u64);
        self.unfinished.finish(jobs.len());
        jobs.clear();
    }

    /// Until the connection is broken or, when the program stops, everything is confirmed.
    async fn publish_on(&mut self, up: &Up, channel: &Channel) {
        let mut under_way = FuturesUnordered::new();
        let mut jobs = Vec::with_capacity(WINDOW);
        let mut ledger = Ledger::new(Arc::clone(&self.unfinished));
        let mut ended = false;
        let (exchange, routing_key) = (self.exchange.clone(), self.routing_key.clone());
        while !ended || !under_way.is_empty() {
            let room = WINDOW - under_way.len();
            tokio::select! {
                biased;
                () = up.broken() => break,
                Some(outcome) = under_way.next() => {
                    ledger.enter(up, outcome);
                    while let Some(Some(outcome)) = under_way.next().now_or_never() {
                        ledger.enter(up, outcome);
                    }
                }
                taken = self.jobs.recv_many(&mut jobs, room), if room > 0 && !ended => {
                    ended = taken == 0;
                    if up.is_blocked() {
                        self.drop_all(&mut jobs, "blocked");
                    }
                    let publish = |job| publish(channel, exchange.clone(), routing_key.clone(), job);
                    under_way.extend(jobs.drain(..).map(publish));
                }
                () = self.stop.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
            }
        }
        ledger.fail("disconnected", under_way.len());
    }
}

async fn open(up: &Up) -> Result<Channel, String> {
    let channel = up.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| words(&error))?;
    Ok(channel)
}

async fn publish(channel: &Channel, exchange: ShortString, routing_key: ShortString, job: Job) -> Outcome {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(job.attempt.to_string().into());
    // A message that no queue takes would be confirmed all the same.
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let body = job.encode();
    let confirmed = async {
        let confirm = channel.basic_publish(exchange, routing_key, options, &body, properties).await?;
        confirm.await
    };
    match timeout(PATIENCE, confirmed).await {
        Ok(Ok(Confirmation::Ack(None) | Confirmation::NotRequested)) => Outcome::Confirmed,
        // lapin may hand a returned message to another publish's confirm, but to one only: the count is right.
        Ok(Ok(Confirmation::Ack(Some(_)))) => Outcome::Refused("returned"),
        Ok(Ok(Confirmation::Nack(_))) => Outcome::Refused("nacked"),
        Ok(Err(error)) => Outcome::Lost(error),
        Err(_) => Outcome::TimedOut,
    }
}

/// Counts how publishes end, and sees from that when the connection is of no use.
struct Ledger {
    unfinished: Arc<Unfinished>,
    confirmed: Counter,
    silent_since: Option<Instant>,
}

impl Ledger {
    fn new(unfinished: Arc<Unfinished>) -> Self {
        Self { unfinished, confirmed: counter!(meters::CONFIRMED), silent_since: None }
    }

    fn enter(&mut self, up: &Up, outcome: Outcome) {
        if !matches!(outcome, Outcome::TimedOut) {
            self.silent_since = None;
        }
        match outcome {
            Outcome::Confirmed => {
                self.confirmed.increment(1);
                self.unfinished.finish(1);
            }
            Outcome::Refused(reason) => {
                self.fail(reason, 1);
                if reason == "returned" {
                    up.give_up("the queue was missing".to_owned());
                }
            }
            Outcome::Lost(error) => {
                self.fail("disconnected", 1);
                up.give_up(words(&error));
            }
            Outcome::TimedOut => {
                self.fail("timeout", 1);
                if self.silent_since.get_or_insert_with(Instant::now).elapsed() > SILENCE {
                    up.give_up("no job was confirmed for too long".to_owned());
                }
            }
        }
    }

    fn fail(&self, reason: &'static str, jobs: usize) {
        counter!(meters::FAILED, "reason" => reason).increment(jobs as u64);
        self.unfinished.finish(jobs);
    }
}
