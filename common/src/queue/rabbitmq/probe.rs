//! How full the queue is: a passive declare, on a channel of its own because a refusal closes it.

use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use metrics::gauge;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::dial::words;
use super::link::{Link, Up};
use crate::queue::meters;

/// Health checks and relays may ask as often as they like.
const FRESH: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth {
    /// Jobs that no consumer has taken.
    pub(super) ready: u32,
    pub(super) consumers: u32,
}

#[derive(Debug)]
pub(super) struct Probe {
    link: Link,
    queue: String,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    channel: Option<Channel>,
    seen: Option<(Instant, Result<Depth, String>)>,
}

impl Probe {
    pub(super) fn new(link: Link, queue: String) -> Self {
        Self { link, queue, last: Mutex::default() }
    }

    /// The queue's depth, at most a moment old.
    pub(super) async fn depth(&self) -> Result<Depth, String> {
        let up = self.link.now()?;
        if up.is_blocked() {
            return Err("it takes no jobs for now: it is short of memory or disk".to_owned());
        }
        let mut last = self.last.lock().await;
        if let Some((at, depth)) = &last.seen
            && at.elapsed() < FRESH
        {
            return depth.clone();
        }
        let asked = timeout(PATIENCE, self.ask(&up, last.channel.take())).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
        let (channel, depth) = asked.map_or_else(|why| (None, Err(why)), |(channel, depth)| (Some(channel), Ok(depth)));
        *last = Last { channel, seen: Some((Instant::now(), depth.clone())) };
        depth
    }

    async fn ask(&self, up: &Up, channel: Option<Channel>) -> Result<(Channel, Depth), String> {
        let channel = match channel.filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => up.channel().await?,
        };
        let passive = QueueDeclareOptions::durable().passive();
        let queue = channel.queue_declare(self.queue.as_str().into(), passive, FieldTable::default()).await;
        let queue = queue.map_err(|error| {
            let why = words(&error);
            if error.is_amqp_error() {
                // The queue is gone: whoever connects anew declares it.
                up.give_up(why.clone());
            }
            why
        })?;
        gauge!(meters::READY).set(queue.message_count());
        Ok((channel, Depth { ready: queue.message_count(), consumers: queue.consumer_count() }))
    }
}
