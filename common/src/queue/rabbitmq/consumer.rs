//! A stream of jobs over reconnections: each connection gives a session, and a session's tags stay on its channel.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial::words;
use super::link::{Link, Up};
use super::settler::{Note, settle};
use crate::queue::{Consumer, Delivery, Job};

pub(super) struct RabbitConsumer {
    pub(super) link: Link,
    pub(super) queue: String,
    pub(super) prefetch: u16,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    session: Option<Session>,
}

/// One subscription on one channel. The channel itself belongs to the settler, which outlives this.
struct Session {
    up: Arc<Up>,
    deliveries: Option<lapin::Consumer>,
    /// Never holds more than the prefetch lets the broker send.
    settler: UnboundedSender<Note>,
}

impl RabbitConsumer {
    pub(super) fn new(link: Link, queue: String, prefetch: u16, tasks: TaskTracker, stop: CancellationToken) -> Self {
        // For the broker, a prefetch of 0 is none at all.
        Self { link, queue, prefetch: prefetch.max(1), tasks, stop, session: None }
    }

    /// Waits for a subscription; false when the program stops.
    pub(super) async fn subscribe(&mut self) -> bool {
        while self.session.is_none() {
            let Some(Some(up)) = self.stop.run_until_cancelled(self.link.up()).await else { return false };
            match self.open(&up).await {
                Ok(session) => self.session = Some(session),
                Err(error) => up.give_up(error),
            }
        }
        true
    }

    async fn open(&self, up: &Arc<Up>) -> Result<Session, String> {
        let channel = up.channel().await?;
        let subscribed = async {
            channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
            let (queue, tag) = (self.queue.as_str().into(), String::new().into());
            channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await
        };
        let deliveries = subscribed.await.map_err(|error| words(&error))?;
        let (settler, notes) = unbounded_channel();
        self.tasks.spawn(settle(channel, notes));
        Ok(Session { up: Arc::clone(up), deliveries: Some(deliveries), settler })
    }
}

impl Session {
    /// The next job, or why this session has ended.
    async fn next(&mut self) -> Result<Delivery, String> {
        let Some(deliveries) = &mut self.deliveries else { return Err("the session has ended".to_owned()) };
        let delivery = tokio::select! {
            biased;
            delivery = deliveries.next() => delivery,
            () = self.up.broken() => None,
        };
        match delivery {
            Some(Ok(delivery)) => Ok(self.hand_out(&delivery)),
            Some(Err(error)) => Err(words(&error)),
            None => Err("the broker ended the subscription".to_owned()),
        }
    }

    fn hand_out(&self, delivery: &lapin::message::Delivery) -> Delivery {
        let tag = delivery.delivery_tag;
        // Sent before the job is given away: the settler knows of a tag before it can be settled.
        let _ = self.settler.send(Note::Taken(tag));
        let settler = self.settler.clone();
        // Fails when the channel is gone; then the broker delivers the job again.
        Delivery::new(Job::decode(&delivery.data), move |how| drop(settler.send(Note::Settled(tag, how))))
    }
}

/// What was not handed out goes back to the queue at once; what was can still be settled.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(deliveries) = self.deliveries.take() {
            let _ = self.settler.send(Note::Stop(deliveries));
        }
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        while !self.stop.is_cancelled() && self.subscribe().await {
            let Some(session) = &mut self.session else { continue };
            match self.stop.run_until_cancelled(session.next()).await {
                Some(Ok(delivery)) => return Some(delivery),
                Some(Err(why)) => {
                    session.up.give_up(why);
                    self.session = None;
                }
                None => break,
            }
        }
        self.session = None;
        None
    }
}
