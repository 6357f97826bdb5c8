//! The queue: a hint that a dispatch has work. Losing, doubling or reordering its messages loses and doubles nothing.

pub mod job;
pub mod memory;
pub mod meters;
pub mod rabbitmq;
pub mod topology;

use std::fmt;

use async_trait::async_trait;

pub use job::{Job, Undecodable};

/// Where jobs go and come from.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync {
    /// Hands a job on without waiting. It may get lost: the relay publishes it again when it is due.
    fn publish(&self, job: Job);

    /// How many more jobs the relay may publish now: what keeps the queue under twice its consumers' prefetch.
    async fn room(&self) -> u32;

    /// Begins to consume, at most `prefetch` unsettled jobs at once. Waits until the broker is there.
    async fn consume(&self, prefetch: u16) -> Box<dyn Consumer>;

    /// `Ok` when jobs go through, else what is wrong, in words.
    async fn health(&self) -> Result<(), String>;

    /// Waits until what was published has been confirmed, for the time the caller gives it.
    async fn drain(&self);
}

/// A stream of jobs that goes on over reconnections; dropping it stops it.
#[async_trait]
pub trait Consumer: Send {
    /// The next job; `None` when the queue has been shut down.
    async fn next(&mut self) -> Option<Delivery>;
}

/// A job and the right to settle it. Dropped without being settled, it comes again.
pub struct Delivery {
    pub job: Result<Job, Undecodable>,
    settle: Box<dyn FnOnce(Settlement) + Send>,
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Its outcome is committed, or it was a duplicate.
    Done,
    /// It can never be worked on: to the dead-letter queue.
    Poison,
}

impl Delivery {
    pub fn new(job: Result<Job, Undecodable>, settle: impl FnOnce(Settlement) + Send + 'static) -> Self {
        Self { job, settle: Box::new(settle) }
    }

    pub fn settle(self, how: Settlement) {
        (self.settle)(how);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({:?})", self.job)
    }
}
