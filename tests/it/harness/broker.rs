//! The broker of a system, seen from its side: what others put there, and what lies in its queues.

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::distributed::{Distributed, rabbitmq};
use super::eventually;

pub(crate) struct Broker {
    name: String,
    channel: Channel,
    _connection: Connection,
}

impl Broker {
    pub(crate) async fn of(otpd: &Distributed) -> Self {
        let connection = Connection::connect(&rabbitmq(), ConnectionProperties::default()).await.expect("RabbitMQ");
        let channel = connection.create_channel().await.expect("a channel");
        Self { name: otpd.name.clone(), channel, _connection: connection }
    }

    /// Publishes where jobs are published.
    pub(crate) async fn publish(&self, message: &str) {
        let (exchange, options) = (format!("{}.jobs", self.name), BasicPublishOptions::default());
        let (message, properties) = (message.as_bytes(), BasicProperties::default());
        let published = self.channel.basic_publish(exchange.into(), "dispatch".into(), options, message, properties);
        published.await.expect("published").await.expect("confirmed");
    }

    /// Takes the next message out of the queue of jobs, once there is one.
    pub(crate) async fn job(&self) -> String {
        self.take("dispatch").await
    }

    /// Takes the next dead letter, once there is one.
    pub(crate) async fn dead_letter(&self) -> String {
        self.take("dispatch.dead").await
    }

    async fn take(&self, queue: &str) -> String {
        let queue = format!("{}.{queue}", self.name);
        let taken = eventually(&format!("a message in {queue}"), || async {
            self.channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.expect("a queue")
        })
        .await;
        taken.acker.ack(BasicAckOptions::default()).await.expect("acknowledged");
        String::from_utf8(taken.delivery.data).expect("UTF-8")
    }

    pub(crate) async fn dead_letters(&self) -> u32 {
        let queue = format!("{}.dispatch.dead", self.name);
        let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), passive, FieldTable::default());
        declared.await.expect("a queue").message_count()
    }
}
