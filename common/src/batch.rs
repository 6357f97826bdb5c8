//! The Batcher: while as many store calls are in flight as may be, callers queue up; when one returns, all of them go
//! together.
//!
//! Where somebody waits for the answer there is no timer, so an idle system answers at once; what nobody waits for is
//! gathered for a moment. The queue is bounded, so a busy system refuses early.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use metrics::{counter, histogram};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::store::StoreError;

/// Callers that may wait at once; the next one is told that it is too much.
pub const QUEUE: usize = 8192;
/// Items that go together at most.
const BATCH: usize = 256;
/// With fewer than these a batch that may wait does.
const FEW: usize = 16;

/// For callers inside the program: each of them means 503 to a client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BatchError {
    #[error("too many requests wait for the store")]
    Overloaded,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the program is stopping")]
    Stopping,
}

type Reply<O> = oneshot::Sender<Result<O, StoreError>>;
/// Those who wait, for whoever collects the next batch.
type Waiting<I, O> = Mutex<mpsc::Receiver<(I, Reply<O>)>>;

/// How the batches of an operation follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a few items wait for others, as what a call of the store costs does not depend on how few they are. For
    /// what nobody waits for.
    pub gathered: Duration,
    /// Calls of the store that may be in flight at once.
    pub at_once: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { gathered: Duration::ZERO, at_once: 1 }
    }
}

/// A queue in front of one set-based store operation.
#[derive(Debug)]
pub struct Batcher<I, O> {
    queue: mpsc::Sender<(I, Reply<O>)>,
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<I: Clone + Send + Sync + 'static, O: Send + 'static> Batcher<I, O> {
    /// Starts an operation that runs one batch after the other; it ends when every `Batcher` is gone and all callers have
    /// answers.
    pub fn start<F, Fut>(operation: &'static str, tasks: &TaskTracker, run: F) -> Self
    where
        F: Fn(Arc<[I]>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<O>, StoreError>> + Send + 'static,
    {
        Self::start_at(operation, tasks, Pace::default(), run)
    }

    /// The same at another pace.
    pub fn start_at<F, Fut>(operation: &'static str, tasks: &TaskTracker, pace: Pace, run: F) -> Self
    where
        F: Fn(Arc<[I]>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<O>, StoreError>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (waiting, run) = (Arc::new(Mutex::new(waiting)), Arc::new(run));
        for _ in 0..pace.at_once {
            tasks.spawn(flush(operation, Arc::clone(&waiting), pace.gathered, Arc::clone(&run)));
        }
        Self { queue }
    }

    /// Runs the operation on `item` together with whoever else waits.
    ///
    /// # Errors
    /// When the queue is full, the store failed, or the item itself was refused by it.
    pub async fn call(&self, item: I) -> Result<O, BatchError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send((item, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BatchError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => BatchError::Stopping,
        })?;
        Ok(answer.await.map_err(|_| BatchError::Stopping)??)
    }
}

async fn flush<I, O, F, Fut>(operation: &'static str, waiting: Arc<Waiting<I, O>>, gathered: Duration, run: Arc<F>)
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
    F: Fn(Arc<[I]>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<O>, StoreError>> + Send + 'static,
{
    let mut batch = Vec::with_capacity(BATCH);
    let size = histogram!("otpd_batch_size", "operation" => operation);
    while collect(&waiting, &mut batch, gathered).await {
        // Whoever has gone away by now was told something else: nothing may happen for it any more.
        batch.retain(|(_, reply)| !reply.is_closed());
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most 256 items")]
        size.record(batch.len() as f64);
        let (items, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let Ok(answers) = AssertUnwindSafe(answer(operation, &*run, &items)).catch_unwind().await else {
            error!(
                otp.operation = operation,
                items = items.len(),
                "a batch panicked; its callers are told to come again"
            );
            continue;
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller that goes away while the batch runs does not hear of it.
            let _ = reply.send(answer);
        }
    }
}

/// The next batch, or `false` when nobody can come any more. Those who run batches take turns in collecting them.
async fn collect<T>(waiting: &Mutex<mpsc::Receiver<T>>, batch: &mut Vec<T>, gathered: Duration) -> bool {
    let mut waiting = waiting.lock().await;
    if waiting.recv_many(batch, BATCH).await == 0 {
        return false;
    }
    gather(&mut waiting, batch, gathered).await;
    true
}

/// Lets a few items wait for others, until they are not so few, the moment is over, or nobody comes any more.
async fn gather<T>(waiting: &mut mpsc::Receiver<T>, batch: &mut Vec<T>, moment: Duration) {
    let end = Instant::now() + moment;
    while !moment.is_zero() && batch.len() < FEW {
        let more = timeout_at(end, waiting.recv_many(batch, BATCH - batch.len())).await;
        if !more.is_ok_and(|more| more > 0) {
            break;
        }
    }
}

/// Runs the batch; one that the store refuses is halved until the item at fault stands alone.
async fn answer<I, O, F, Fut>(operation: &'static str, run: &F, items: &[I]) -> Vec<Result<O, StoreError>>
where
    I: Clone + Send + Sync + 'static,
    F: Fn(Arc<[I]>) -> Fut,
    Fut: Future<Output = Result<Vec<O>, StoreError>>,
{
    let mut answers = Vec::with_capacity(items.len());
    let mut parts = vec![items];
    while let Some(part) = parts.pop() {
        match run(part.into()).await {
            Ok(outcomes) if outcomes.len() == part.len() => answers.extend(outcomes.into_iter().map(Ok)),
            Ok(_) => {
                error!(otp.operation = operation, "the store answered another number of items than it was asked");
                answers.extend(part.iter().map(|_| Err(StoreError::Refused("answers do not fit".to_owned()))));
            }
            Err(StoreError::Refused(_)) if part.len() > 1 => {
                let (left, right) = part.split_at(part.len() / 2);
                parts.push(right);
                parts.push(left);
            }
            Err(error) => {
                if let StoreError::Refused(reason) = &error {
                    counter!("otpd_batch_items_refused_total", "operation" => operation).increment(1);
                    error!(otp.operation = operation, error = reason, "the store refused an item");
                } else {
                    warn!(otp.operation = operation, items = part.len(), %error, "a batch failed");
                }
                answers.extend(part.iter().map(|_| Err(error.clone())));
            }
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::Barrier;

    #[expect(clippy::needless_pass_by_value, reason = "the shape of a batch operation")]
    fn refuse_odd(batch: Arc<[u32]>) -> impl Future<Output = Result<Vec<u32>, StoreError>> {
        let bad = batch.iter().any(|item| item % 2 == 1);
        std::future::ready(if bad { Err(StoreError::Refused("odd".to_owned())) } else { Ok(batch.to_vec()) })
    }

    #[tokio::test]
    async fn one_bad_item_never_fails_its_batch() {
        let answers = answer("test", &refuse_odd, &[0, 2, 3, 4, 5, 6]).await;
        let good: Vec<_> = answers.iter().map(|answer| answer.as_ref().ok().copied()).collect();
        assert_eq!(good, [Some(0), Some(2), None, Some(4), None, Some(6)]);
    }

    #[tokio::test]
    async fn callers_go_together_while_a_call_is_in_flight() {
        let tasks = TaskTracker::new();
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sizes);
        let batcher = Batcher::start("test", &tasks, move |batch: Arc<[u32]>| {
            seen.lock().expect("lock").push(batch.len());
            async move {
                tokio::task::yield_now().await;
                Ok(batch.to_vec())
            }
        });
        let calls = (0..100).map(|item| batcher.call(item));
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.into_iter().zip(0..).all(|(answer, item)| answer.expect("answer") == item));
        assert!(sizes.lock().expect("lock").len() <= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_wait_goes_together_and_no_later_than_its_moment() {
        let pace = Pace { gathered: Duration::from_millis(5), ..Pace::default() };
        let tasks = TaskTracker::new();
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sizes);
        let batcher = Batcher::start_at("test", &tasks, pace, move |batch: Arc<[usize]>| {
            seen.lock().expect("lock").push(batch.len());
            std::future::ready(Ok(batch.to_vec()))
        });
        let begun = Instant::now();
        let call = |item: usize| {
            let batcher = batcher.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(item as u64)).await;
                batcher.call(item).await.expect("answer");
                begun.elapsed()
            }
        };
        assert_eq!(futures_util::future::join_all([0, 4, 8].map(call)).await, [5, 5, 13].map(Duration::from_millis));
        assert_eq!(*sizes.lock().expect("lock"), [2, 1]);
        let begun = Instant::now();
        futures_util::future::join_all((0..FEW).map(|item| batcher.call(item))).await;
        assert!(begun.elapsed().is_zero(), "many do not wait");
    }

    #[tokio::test]
    async fn as_many_calls_are_in_flight_as_it_says() {
        let (pace, tasks) = (Pace { at_once: 2, ..Pace::default() }, TaskTracker::new());
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (seen, both) = (Arc::clone(&sizes), Arc::new(Barrier::new(2)));
        let batcher = Batcher::start_at("test", &tasks, pace, move |batch: Arc<[usize]>| {
            seen.lock().expect("lock").push(batch.len());
            let both = Arc::clone(&both);
            async move {
                both.wait().await;
                Ok(batch.to_vec())
            }
        });
        let (mut first, second, third) = (Box::pin(batcher.call(1)), batcher.call(2), batcher.call(3));
        assert!(futures_util::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
        let answers = futures_util::future::join3(first, second, third).await;
        assert!(matches!(answers, (Ok(1), Ok(2), Ok(3))));
        assert_eq!(*sizes.lock().expect("lock"), [1, 2], "what comes while one is in flight goes together");
        drop(batcher);
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let tasks = TaskTracker::new();
        let batcher =
            Batcher::start("test", &tasks, |_: Arc<[usize]>| std::future::pending::<Result<Vec<usize>, StoreError>>());
        let calls = (0..QUEUE + BATCH + 10).map(|item| batcher.call(item));
        let mut calls: futures_util::stream::FuturesUnordered<_> = calls.collect();
        let first = futures_util::StreamExt::next(&mut calls).await.expect("an answer");
        assert!(matches!(first, Err(BatchError::Overloaded)));
    }

    #[tokio::test]
    async fn a_panic_fails_its_batch_and_not_the_next() {
        let tasks = TaskTracker::new();
        let batcher = Batcher::start("test", &tasks, |batch: Arc<[u32]>| async move {
            assert!(batch[0] != 0, "a bug");
            Ok(batch.to_vec())
        });
        assert!(matches!(batcher.call(0).await, Err(BatchError::Stopping)));
        assert_eq!(batcher.call(1).await.expect("answer"), 1);
    }

    #[tokio::test]
    async fn nothing_happens_for_a_caller_that_has_gone_away() {
        let tasks = TaskTracker::new();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ran);
        let batcher = Batcher::start("test", &tasks, move |batch: Arc<[u32]>| {
            seen.lock().expect("lock").extend_from_slice(&batch);
            std::future::ready(Ok(batch.to_vec()))
        });
        drop(futures_util::poll!(Box::pin(batcher.call(1))));
        batcher.call(2).await.expect("answer");
        assert_eq!(*ran.lock().expect("lock"), [2]);
    }

    #[tokio::test]
    async fn a_store_that_is_away_fails_the_batch_without_halving_it() {
        let away = |_: Arc<[u32]>| std::future::ready(Err::<Vec<u32>, _>(StoreError::Unavailable("away".to_owned())));
        let answers = answer("test", &away, &[1, 2]).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))));
    }
}
