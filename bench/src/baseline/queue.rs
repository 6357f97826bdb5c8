//! The naive system's queue: a durable quorum queue behind a direct exchange, persistent messages, a channel a publish.

use std::sync::{Mutex, PoisonError};

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::failure::Outcome;

pub(super) const KEY: &str = "dispatch";
const CHANNELS: usize = 64;

pub(super) fn exchange(prefix: &str) -> String {
    format!("{prefix}.jobs")
}

pub(super) fn queue(prefix: &str) -> String {
    format!("{prefix}.dispatch")
}

/// Persistent.
pub(super) fn properties() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

pub(super) async fn declare(channel: &Channel, prefix: &str) -> Outcome {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange(prefix).into(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
    quorum.insert("x-delivery-limit".into(), AMQPValue::LongInt(20));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue(prefix).into(), durable, quorum).await?;
    let (queue, exchange) = (queue(prefix).into(), exchange(prefix).into());
    channel.queue_bind(queue, exchange, KEY.into(), QueueBindOptions::default(), FieldTable::default()).await?;
    Ok(())
}

/// Publishes one message at a time on each of its channels: two tasks on one could take each other's confirms.
pub(super) struct Publisher {
    exchange: String,
    free: Mutex<Vec<Channel>>,
    turns: Semaphore,
    _connection: Connection,
}

impl Publisher {
    pub(super) async fn connect(url: &str, prefix: &str) -> Outcome<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let mut free = Vec::with_capacity(CHANNELS);
        for _ in 0..CHANNELS {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            free.push(channel);
        }
        if let Some(channel) = free.first() {
            declare(channel, prefix).await?;
        }
        let (free, turns) = (Mutex::new(free), Semaphore::new(CHANNELS));
        Ok(Self { exchange: exchange(prefix), free, turns, _connection: connection })
    }

    /// Publishes and waits until the broker has it.
    pub(super) async fn publish(&self, id: Uuid) -> Outcome {
        let _turn = self.turns.acquire().await?;
        let channel = self.channels().pop().ok_or("no channel")?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = self.exchange.as_str().into();
        let published = channel.basic_publish(exchange, KEY.into(), options, id.as_bytes(), properties()).await?;
        let confirmation = published.await?;
        // A channel whose publish failed is not given back.
        self.channels().push(channel);
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            other => Err(format!("not confirmed: {other:?}").into()),
        }
    }

    fn channels(&self) -> std::sync::MutexGuard<'_, Vec<Channel>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
