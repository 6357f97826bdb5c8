//! The consumer: one task a delivery, bounded by permits, and the only place that settles one.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::otp::ids::DispatchId;
use common::queue::{Delivery, Job, Queue, Settlement, Undecodable};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info_span, warn};

use crate::dispatch::{Ended, Worker};
use crate::telemetry;

/// How long a consumer stands aside for workers that read a newer version of the messages.
const PAUSE: Duration = Duration::from_secs(15);
/// Dispatches whose panics are remembered; more than that at once is no longer about one message.
const REMEMBERED_PANICS: usize = 10_000;

/// Consumes until `stop`; what has begun by then goes on in `tasks`.
pub async fn run(queue: Arc<dyn Queue>, worker: Worker, concurrency: u16, tasks: TaskTracker, stop: CancellationToken) {
    let runner = Runner { worker, panicked: Arc::default() };
    while !stop.is_cancelled() {
        match consume(queue.as_ref(), &runner, concurrency, &tasks, &stop).await {
            Stopped::Ended => return,
            Stopped::NewerMessages => pause(&stop).await,
        }
    }
}

enum Stopped {
    Ended,
    NewerMessages,
}

async fn consume(
    queue: &dyn Queue,
    runner: &Runner,
    concurrency: u16,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Stopped {
    let permits = Arc::new(Semaphore::new(usize::from(concurrency)));
    let Some(mut consumer) = stop.run_until_cancelled(queue.consume(concurrency)).await else { return Stopped::Ended };
    loop {
        let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&permits).acquire_owned()).await else {
            return Stopped::Ended;
        };
        let Some(Some(delivery)) = stop.run_until_cancelled(consumer.next()).await else { return Stopped::Ended };
        match delivery.job.clone() {
            Ok(job) => {
                let span = info_span!("job", otp.dispatch_id = %job.attempt.dispatch, otp.attempt = job.attempt.n);
                let runner = runner.clone();
                let work = async move {
                    runner.run(delivery, job).await;
                    drop(permit);
                };
                tasks.spawn(work.instrument(span));
            }
            Err(Undecodable::Malformed) => {
                warn!("a message is not a job; it goes to the dead-letter queue");
                delivery.settle(Settlement::Poison);
            }
            Err(newer @ Undecodable::Newer(_)) => {
                error!(%newer, "this worker pauses");
                return Stopped::NewerMessages;
            }
        }
    }
}

async fn pause(stop: &CancellationToken) {
    // Being stopped ends the pause early, which is all that matters.
    let _ = tokio::time::timeout(PAUSE, stop.cancelled()).await;
}

#[derive(Clone)]
struct Runner {
    worker: Worker,
    /// Dispatches whose work has panicked once.
    panicked: Arc<Mutex<HashSet<DispatchId>>>,
}

impl Runner {
    async fn run(&self, delivery: Delivery, job: Job) {
        match AssertUnwindSafe(self.worker.run(job)).catch_unwind().await {
            Ok(Ended::Committed) => delivery.settle(Settlement::Done),
            Ok(Ended::Undecided) => drop(delivery),
            Err(_) => self.settle_panicked(delivery, job.attempt.dispatch),
        }
    }

    /// The first time, the lease ends and the relay brings the next attempt; the second time it is poison.
    fn settle_panicked(&self, delivery: Delivery, dispatch: DispatchId) {
        telemetry::panicked();
        error!("the work on a job panicked");
        let mut panicked = self.panicked.lock().unwrap_or_else(PoisonError::into_inner);
        if panicked.len() >= REMEMBERED_PANICS {
            panicked.clear();
        }
        let how = if panicked.insert(dispatch) { Settlement::Done } else { Settlement::Poison };
        delivery.settle(how);
    }
}
