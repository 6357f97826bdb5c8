//! A test's own corner of the broker: a prefix, an observer's connection, and cleaning up whatever happens.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::otp::ids::{AttemptId, DispatchId, VerificationId};
use common::otp::time::Timestamp;
use common::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use common::queue::topology::Topology;
use common::queue::{Consumer, Delivery, Job, Queue};
use futures_util::FutureExt;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Far more than anything takes, for a machine that is busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// What `RabbitSettings` says; consumers of the tests may take less.
pub(crate) const PREFETCH: u16 = 50;

pub(crate) struct Broker {
    pub(crate) url: String,
    pub(crate) topology: Topology,
    pub(crate) stop: CancellationToken,
    prefix: String,
    tasks: TaskTracker,
    observer: Connection,
}

/// Runs a test with its own prefix, and removes what it made also when it fails.
pub(crate) async fn with_broker(test: impl AsyncFnOnce(&Broker)) {
    #[expect(clippy::disallowed_methods, reason = "where the test broker is, is no setting of the program")]
    let url = std::env::var("OTPD_TEST_RABBITMQ");
    let url = url.unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned());
    let observer = Connection::connect(&url, ConnectionProperties::default()).await.expect("RabbitMQ must be there");
    let prefix = format!("test-{}", uuid::Uuid::now_v7().simple());
    let topology = Topology::new(&prefix).expect("a prefix");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let broker = Broker { url, topology, stop, prefix, tasks, observer };
    let outcome = AssertUnwindSafe(timeout(3 * DEADLINE, test(&broker))).catch_unwind().await;
    broker.stop.cancel();
    broker.tasks.close();
    let stopped = timeout(DEADLINE, broker.tasks.wait()).await;
    broker.delete_queues().await;
    broker.delete_exchanges().await;
    match outcome {
        Ok(in_time) => in_time.expect("the test must end in time"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
    stopped.expect("every task must end when the program stops");
}

pub(crate) fn settings(url: &str, prefix: &str) -> RabbitSettings {
    RabbitSettings {
        url: url.parse().expect("a url"),
        topology: Topology::new(prefix).expect("a prefix"),
        prefetch: PREFETCH,
        connection_name: "otpd test".to_owned(),
    }
}

impl Broker {
    pub(crate) fn queue(&self) -> Arc<RabbitQueue> {
        self.queue_with(&self.url, &self.tasks)
    }

    /// A queue whose topology is declared.
    pub(crate) async fn ready_queue(&self) -> Arc<RabbitQueue> {
        let queue = self.queue();
        eventually("the queue is ready", async || queue.health().await.is_ok()).await;
        queue
    }

    /// A queue that reaches the broker by way of `address`.
    pub(crate) fn queue_at(&self, address: &str) -> Arc<RabbitQueue> {
        self.queue_with(&self.url.replace(&self.address(), address), &self.tasks)
    }

    pub(crate) fn queue_with(&self, url: &str, tasks: &TaskTracker) -> Arc<RabbitQueue> {
        RabbitQueue::start(settings(url, &self.prefix), tasks, self.stop.clone())
    }

    pub(crate) fn address(&self) -> String {
        settings(&self.url, &self.prefix).url.to_string()
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.observer.create_channel().await.expect("a channel")
    }

    /// Jobs that nobody has taken, and consumers.
    pub(crate) async fn depth(&self) -> (u32, u32) {
        self.look(self.topology.queue()).await
    }

    pub(crate) async fn dead_letters(&self) -> u32 {
        self.look(self.topology.dead_queue()).await.0
    }

    async fn look(&self, queue: String) -> (u32, u32) {
        let passive = QueueDeclareOptions::durable().passive();
        let queue = self.channel().await.queue_declare(queue.into(), passive, FieldTable::default()).await;
        let queue = queue.expect("the queue");
        (queue.message_count(), queue.consumer_count())
    }

    /// Looks at one message; it goes back as its channel closes.
    pub(crate) async fn get(&self) -> BasicGetMessage {
        let queue = self.topology.queue().into();
        let answer = self.channel().await.basic_get(queue, BasicGetOptions::default()).await;
        answer.expect("an answer").expect("a message")
    }

    pub(crate) async fn declare_classic(&self, queue: String) -> lapin::Result<lapin::Queue> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        self.channel().await.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await
    }

    pub(crate) async fn publish_raw(&self, body: &[u8]) {
        let (exchange, key) = (self.topology.exchange().into(), self.topology.routing_key().into());
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        self.channel().await.basic_publish(exchange, key, options, body, properties).await.expect("published");
    }

    pub(crate) async fn delete_queues(&self) {
        for queue in [self.topology.queue(), self.topology.dead_queue()] {
            let deleted = self.channel().await.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
            deleted.expect("deleted");
        }
    }

    async fn delete_exchanges(&self) {
        for exchange in [self.topology.exchange(), self.topology.dead_exchange()] {
            let deleted = self.channel().await.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await;
            deleted.expect("deleted");
        }
    }
}

/// Job number `n` of one verification.
pub(crate) fn job(n: i16) -> Job {
    let verification = VerificationId::from_uuid(uuid::Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));
    let attempt = AttemptId { dispatch: DispatchId { verification, n: 1 }, n };
    Job { attempt, deadline: Timestamp::from_ms(9_000) }
}

pub(crate) async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    timeout(DEADLINE, consumer.next()).await.expect("a delivery in time").expect("a delivery")
}

pub(crate) fn attempt(delivery: &Delivery) -> i16 {
    delivery.job.as_ref().expect("a job").attempt.n
}

/// Asks again and again, until it is so or the deadline has passed.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
