//! The queue of the distributed program: RabbitMQ, one connection for publishing and one for consuming.
//!
//! Nothing here fails for good: what cannot be published is counted and forgotten, because the relay publishes again
//! what is due, and what was not settled is delivered again by the broker.

mod consumer;
mod dial;
mod link;
mod probe;
mod publisher;
mod settler;
mod url;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::consumer::RabbitConsumer;
use self::link::Link;
use self::probe::{Depth, Probe};
use self::publisher::Publisher;
pub use self::url::{BadUrl, BrokerUrl};
use super::topology::Topology;
use super::{Consumer, Job, Queue};

/// Where the broker is, and what is ours there.
#[derive(Debug, Clone)]
pub struct RabbitSettings {
    pub url: BrokerUrl,
    pub topology: Topology,
    /// What each worker takes at once; the relay's room follows from it.
    pub prefetch: u16,
    /// Shown in the broker's list of connections: `otpd api`, `otpd worker`.
    pub connection_name: String,
}

#[derive(Debug)]
pub struct RabbitQueue {
    settings: Arc<RabbitSettings>,
    publisher: Publisher,
    probe: Probe,
    publishing: Link,
    /// Made by the first consumer: a process that only publishes has one connection.
    consuming: OnceLock<Link>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl RabbitQueue {
    /// Begins to connect, and goes on for ever. `stop` ends the consumers at once and the publisher when what it has
    /// accepted is confirmed: cancel it after the last publish.
    #[must_use]
    pub fn start(settings: RabbitSettings, tasks: &TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let settings = Arc::new(settings);
        let publishing = Link::start("publishing", Arc::clone(&settings), tasks, stop.clone());
        let publisher = Publisher::start(publishing.clone(), &settings.topology, tasks, stop.clone());
        let probe = Probe::new(publishing.clone(), settings.topology.queue());
        let (consuming, tasks) = (OnceLock::new(), tasks.clone());
        Arc::new(Self { settings, publisher, probe, publishing, consuming, tasks, stop })
    }

    fn consuming(&self) -> Link {
        let start = || Link::start("consuming", Arc::clone(&self.settings), &self.tasks, self.stop.clone());
        self.consuming.get_or_init(start).clone()
    }

    async fn check(&self) -> Result<(), String> {
        self.publishing.now()?;
        if let Some(consuming) = self.consuming.get() {
            consuming.now()?;
        }
        self.probe.depth().await.map(drop)
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    fn publish(&self, job: Job) {
        self.publisher.publish(job);
    }

    async fn room(&self) -> u32 {
        let Ok(depth) = self.probe.depth().await else { return 0 };
        room(depth, self.settings.prefetch, self.publisher.unfinished())
    }

    async fn consume(&self, prefetch: u16) -> Box<dyn Consumer> {
        let (queue, tasks) = (self.settings.topology.queue(), self.tasks.clone());
        let mut consumer = RabbitConsumer::new(self.consuming(), queue, prefetch, tasks, self.stop.clone());
        consumer.subscribe().await;
        Box::new(consumer)
    }

    async fn health(&self) -> Result<(), String> {
        self.check().await.map_err(|why| format!("RabbitMQ at {}: {why}", self.settings.url))
    }

    async fn drain(&self) {
        self.publisher.drain().await;
    }
}

/// What keeps the queue under twice its consumers' prefetch, or under one prefetch while there are none.
fn room(depth: Depth, prefetch: u16, unfinished: usize) -> u32 {
    let wanted = u32::from(prefetch).saturating_mul(depth.consumers.saturating_mul(2).max(1));
    let unfinished = u32::try_from(unfinished).unwrap_or(u32::MAX);
    wanted.saturating_sub(depth.ready).saturating_sub(unfinished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_from_the_consumers_and_from_what_is_there() {
        let check = |ready, consumers, unfinished, expected| {
            assert_eq!(room(Depth { ready, consumers }, 500, unfinished), expected);
        };
        check(0, 0, 0, 500);
        check(120, 0, 30, 350);
        check(0, 1, 0, 1000);
        check(900, 2, 0, 1100);
        check(5000, 2, 0, 0);
        check(u32::MAX, u32::MAX, 0, 0);
    }
}
