//! What otpd has on the broker: its names, its arguments and how it is declared. The same on RabbitMQ 3.10 and 4.x.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

/// The routing key of every job.
const ROUTING_KEY: &str = "dispatch";
/// A job that comes back this often breaks whoever takes it. The default of 4.x; 3.10 has none.
const DELIVERY_LIMIT: i32 = 20;
/// Beyond this the broker refuses jobs, and the relay brings them later: workers were away for long.
const LONGEST: i32 = 100_000;
/// Dead letters are kept to be looked at; the oldest go first.
const DEAD_LETTERS: i32 = 10_000;
/// A prefix leaves room for the longest suffix in the 255 bytes of a name.
const LONGEST_PREFIX: usize = 200;

/// The exchanges and queues of one installation, told apart from others by a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue prefix must have 1 to {LONGEST_PREFIX} letters, digits, '.', '_' or '-'")]
pub struct BadPrefix;

impl Topology {
    /// # Errors
    /// When the prefix cannot begin the name of a queue.
    pub fn new(prefix: &str) -> Result<Self, BadPrefix> {
        let fits = (1..=LONGEST_PREFIX).contains(&prefix.len());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if fits && prefix.chars().all(plain) { Ok(Self { prefix: prefix.to_owned() }) } else { Err(BadPrefix) }
    }

    /// The exchange that jobs are published to.
    #[must_use]
    pub fn exchange(&self) -> String {
        format!("{}.jobs", self.prefix)
    }

    /// The queue that workers consume.
    #[must_use]
    pub fn queue(&self) -> String {
        format!("{}.dispatch", self.prefix)
    }

    /// The exchange that gets what nobody could work on.
    #[must_use]
    pub fn dead_exchange(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// The queue where dead letters lie.
    #[must_use]
    pub fn dead_queue(&self) -> String {
        format!("{}.dispatch.dead", self.prefix)
    }

    #[must_use]
    pub fn routing_key(&self) -> &'static str {
        ROUTING_KEY
    }

    /// Makes what is missing; what is there must have the same arguments. The dead letters' place comes first.
    pub(super) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let dead = [("x-max-length", AMQPValue::from(DEAD_LETTERS)), ("x-overflow", text("drop-head"))];
        declare(channel, self.dead_exchange(), self.dead_queue(), quorum(dead)).await?;
        let live = [
            ("x-delivery-limit", AMQPValue::from(DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", text(&self.dead_exchange())),
            ("x-max-length", AMQPValue::from(LONGEST)),
            ("x-overflow", text("reject-publish")),
        ];
        declare(channel, self.exchange(), self.queue(), quorum(live)).await
    }
}

async fn declare(channel: &Channel, exchange: String, queue: String, arguments: FieldTable) -> lapin::Result<()> {
    let (exchange, queue) = (ShortString::from(exchange), ShortString::from(queue));
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange.clone(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
    channel.queue_declare(queue.clone(), QueueDeclareOptions::durable(), arguments).await?;
    let (key, options) = (ROUTING_KEY.into(), QueueBindOptions::default());
    channel.queue_bind(queue, exchange, key, options, FieldTable::default()).await
}

fn quorum<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_prefix() {
        let topology = Topology::new("otpd").expect("a prefix");
        assert_eq!(
            [topology.exchange(), topology.queue(), topology.dead_exchange(), topology.dead_queue()],
            ["otpd.jobs", "otpd.dispatch", "otpd.dead", "otpd.dispatch.dead"]
        );
    }

    #[test]
    fn a_prefix_is_plain_and_short() {
        for good in ["otpd", "a", "eu-1.staging_2", &"x".repeat(200)] {
            assert!(Topology::new(good).is_ok(), "{good}");
        }
        for bad in ["", "with space", "ümlaut", "a/b", &"x".repeat(201)] {
            assert_eq!(Topology::new(bad), Err(BadPrefix), "{bad}");
        }
    }
}
