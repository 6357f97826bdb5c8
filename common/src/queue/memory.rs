//! The queue of the embedded program: jobs in this process's memory, gone with it, brought again by the relay.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use metrics::{counter, gauge};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Consumer, Delivery, Job, Queue, meters};

/// Jobs that fit; the relay brings what does not.
pub const CAPACITY: usize = 10_000;
/// What the relay may bring while nobody consumes yet.
const ROOM_WITHOUT_CONSUMERS: u32 = 500;

#[derive(Debug)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// One permit for each job that waits.
    waiting: Semaphore,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The prefetch of all consumers together.
    prefetch: u32,
}

impl MemoryQueue {
    #[must_use]
    pub fn new() -> Arc<Self> {
        let shared = Shared { state: Mutex::default(), waiting: Semaphore::new(0), closed: CancellationToken::new() };
        Arc::new(Self { shared: Arc::new(shared) })
    }

    /// Ends every consumer; nothing is taken in or given out any more.
    pub fn close(&self) {
        self.shared.closed.cancel();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn publish(&self, job: Job) {
        if self.shared.closed.is_cancelled() {
            return counter!(meters::DROPPED, "reason" => "stopped").increment(1);
        }
        let mut state = self.shared.state();
        if state.jobs.len() >= CAPACITY {
            return counter!(meters::DROPPED, "reason" => "full").increment(1);
        }
        state.jobs.push_back(job);
        drop(state);
        self.shared.waiting.add_permits(1);
    }

    async fn room(&self) -> u32 {
        let state = self.shared.state();
        let (prefetch, ready) = (state.prefetch, u32::try_from(state.jobs.len()).unwrap_or(u32::MAX));
        drop(state);
        gauge!(meters::READY).set(ready);
        let wanted = if prefetch == 0 { ROOM_WITHOUT_CONSUMERS } else { prefetch.saturating_mul(2) };
        wanted.saturating_sub(ready)
    }

    async fn consume(&self, prefetch: u16) -> Box<dyn Consumer> {
        let prefetch = prefetch.max(1);
        self.shared.state().prefetch += u32::from(prefetch);
        let unsettled = Arc::new(Semaphore::new(usize::from(prefetch)));
        Box::new(MemoryConsumer { shared: Arc::clone(&self.shared), prefetch, unsettled })
    }

    async fn health(&self) -> Result<(), String> {
        if self.shared.closed.is_cancelled() { Err("the queue is closed".to_owned()) } else { Ok(()) }
    }

    async fn drain(&self) {}
}

struct MemoryConsumer {
    shared: Arc<Shared>,
    prefetch: u16,
    /// A permit goes with each delivery until it is settled or dropped.
    unsettled: Arc<Semaphore>,
}

impl MemoryConsumer {
    async fn take(&self) -> Option<Delivery> {
        let unsettled = Arc::clone(&self.unsettled).acquire_owned().await.ok()?;
        self.shared.waiting.acquire().await.ok()?.forget();
        let job = self.shared.state().jobs.pop_front()?;
        Some(Delivery::new(Ok(job), move |_| drop(unsettled)))
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        self.shared.closed.run_until_cancelled(self.take()).await.flatten()
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.shared.state().prefetch -= u32::from(self.prefetch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::ids::{AttemptId, DispatchId, VerificationId};
    use crate::otp::time::Timestamp;
    use crate::queue::Settlement;
    use futures_util::FutureExt;

    fn job(n: i16) -> Job {
        let verification = VerificationId::new(Timestamp::from_ms(5_000));
        Job {
            attempt: AttemptId { dispatch: DispatchId { verification, n: 1 }, n },
            deadline: Timestamp::from_ms(9_000),
        }
    }

    async fn take(consumer: &mut Box<dyn Consumer>) -> i16 {
        let delivery = consumer.next().await.expect("a delivery");
        let n = delivery.job.as_ref().expect("a job").attempt.n;
        delivery.settle(Settlement::Done);
        n
    }

    #[tokio::test]
    async fn jobs_come_out_in_order_and_once() {
        let queue = MemoryQueue::new();
        (1..=3).for_each(|n| queue.publish(job(n)));
        let mut consumer = queue.consume(10).await;
        assert_eq!([take(&mut consumer).await, take(&mut consumer).await, take(&mut consumer).await], [1, 2, 3]);
        assert!(consumer.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn consumers_compete_and_none_sleeps_beside_a_job() {
        let queue = MemoryQueue::new();
        let (mut one, mut two) = (queue.consume(1).await, queue.consume(1).await);
        (1..=2).for_each(|n| queue.publish(job(n)));
        let (first, second) = tokio::join!(one.next(), two.next());
        let mut seen = [first, second].map(|delivery| delivery.expect("a delivery").job.expect("a job").attempt.n);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    }

    #[tokio::test]
    async fn no_more_than_the_prefetch_is_unsettled_at_once() {
        let queue = MemoryQueue::new();
        (1..=3).for_each(|n| queue.publish(job(n)));
        let mut consumer = queue.consume(2).await;
        let first = consumer.next().await.expect("a delivery");
        let second = consumer.next().await.expect("a delivery");
        assert!(consumer.next().now_or_never().is_none());
        first.settle(Settlement::Poison);
        assert_eq!(take(&mut consumer).await, 3);
        // Dropping makes room as well, but the job does not come again: the relay brings it.
        drop(second);
        assert!(consumer.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped() {
        let queue = MemoryQueue::new();
        (0..CAPACITY + 5).for_each(|_| queue.publish(job(1)));
        assert_eq!(queue.shared.state().jobs.len(), CAPACITY);
        assert_eq!(queue.shared.waiting.available_permits(), CAPACITY);
    }

    #[tokio::test]
    async fn room_is_what_is_left_of_twice_the_prefetch() {
        let queue = MemoryQueue::new();
        queue.publish(job(1));
        assert_eq!(queue.room().await, ROOM_WITHOUT_CONSUMERS - 1);
        let consumer = queue.consume(4).await;
        let other = queue.consume(6).await;
        assert_eq!(queue.room().await, 19);
        drop(other);
        assert_eq!(queue.room().await, 7);
        (0..20).for_each(|_| queue.publish(job(1)));
        assert_eq!(queue.room().await, 0);
        drop(consumer);
    }

    #[tokio::test]
    async fn closing_ends_consumers_that_wait_for_jobs_or_for_room() {
        let queue = MemoryQueue::new();
        queue.publish(job(1));
        let (mut full, mut idle) = (queue.consume(1).await, queue.consume(1).await);
        let _held = full.next().await.expect("a delivery");
        let (full_end, idle_end, ()) = tokio::join!(full.next(), idle.next(), async { queue.close() });
        assert!(full_end.is_none() && idle_end.is_none());
        assert!(queue.health().await.is_err());
    }
}
