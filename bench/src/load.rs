//! Load over HTTP: as much as is taken, or at a steady rate with latencies from the intended start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::failure::{Failure, Outcome};
use crate::http::Connection;

/// The longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 120_000_000;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked, by its number.
pub(crate) trait Calls: Send + Sync + 'static {
    /// Appends request number `index`, written out.
    fn write(&self, index: u64, into: &mut Vec<u8>);

    /// Whether the reply is the one that it must be.
    fn is_right(&self, index: u64, status: u16, body: &[u8]) -> bool;

    /// It is about to be sent; `intended` is when it should have been.
    fn starts(&self, _index: u64, _intended: Instant) {}
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Over(Duration),
    Made(u64),
}

/// What a load found.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Requests with a right reply.
    pub(crate) right: u64,
    /// The number after the last one that was used.
    pub(crate) next: u64,
    pub(crate) elapsed: Duration,
    /// Microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        count(self.right) / self.elapsed.as_secs_f64()
    }

    /// A percentile of the latency in milliseconds.
    pub(crate) fn ms(&self, percentile: f64) -> f64 {
        count(self.latency.value_at_percentile(percentile)) / 1000.0
    }
}

/// A count as a number to divide; none here comes near 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
pub(crate) const fn count(of: u64) -> f64 {
    of as f64
}

/// For microseconds.
pub(crate) fn histogram() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

struct Shared<C> {
    calls: Arc<C>,
    next: AtomicU64,
    end: u64,
    deadline: Option<Instant>,
    /// Open loop: when number 0 is due, and the time between two.
    pace: Option<Pace>,
    /// Closed loop: permits for requests, of which others give back what is done with.
    gate: Option<Arc<Semaphore>>,
}

struct Pace {
    first: u64,
    start: Instant,
    every: Duration,
    due: Semaphore,
}

/// As much as is taken: each connection asks again when it has its reply. Numbers count from `first`.
pub(crate) async fn saturate<C: Calls>(
    address: SocketAddr,
    connections: usize,
    calls: Arc<C>,
    first: u64,
    until: Until,
) -> Outcome<Measured> {
    saturate_gated(address, connections, calls, first, until, None).await
}

/// The same, where each request also takes a permit that is given back elsewhere.
pub(crate) async fn saturate_gated<C: Calls>(
    address: SocketAddr,
    connections: usize,
    calls: Arc<C>,
    first: u64,
    until: Until,
    gate: Option<Arc<Semaphore>>,
) -> Outcome<Measured> {
    let opened = open(address, connections).await?;
    let (end, deadline) = match until {
        Until::Over(time) => (u64::MAX, Some(Instant::now() + time)),
        Until::Made(number) => (first + number, None),
    };
    run(opened, Shared { calls, next: AtomicU64::new(first), end, deadline, pace: None, gate }).await
}

/// So many a second for a time, whatever the replies take. A request that finds no free connection waits, and that
/// counts: latencies are taken from when it was to start.
pub(crate) async fn steady<C: Calls>(
    address: SocketAddr,
    connections: usize,
    calls: Arc<C>,
    first: u64,
    rate: f64,
    time: Duration,
) -> Outcome<Measured> {
    let opened = open(address, connections).await?;
    let number = whole(rate * time.as_secs_f64()).max(1);
    let every = Duration::from_secs_f64(1.0 / rate);
    let start = Instant::now() + Duration::from_millis(20);
    let pace = Pace { first, start, every, due: Semaphore::new(0) };
    let shared = Shared {
        calls,
        next: AtomicU64::new(first),
        end: first + number,
        deadline: None,
        pace: Some(pace),
        gate: None,
    };
    run(opened, shared).await
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate times a few seconds")]
pub(crate) fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

async fn open(address: SocketAddr, connections: usize) -> Outcome<Vec<Connection>> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(Connection::open(address).await?);
    }
    Ok(opened)
}

async fn run<C: Calls>(connections: Vec<Connection>, shared: Shared<C>) -> Outcome<Measured> {
    let shared = Arc::new(shared);
    let begun = Instant::now();
    let pacer = shared.pace.is_some().then(|| {
        let shared = Arc::clone(&shared);
        std::thread::spawn(move || pace(&shared))
    });
    let mut callers = JoinSet::new();
    for connection in connections {
        callers.spawn(call(connection, Arc::clone(&shared)));
    }
    let mut latency = histogram()?;
    let mut trouble: Option<Failure> = None;
    while let Some(ended) = callers.join_next().await {
        match ended? {
            Ok(own) => latency.add(own)?,
            Err(failure) => {
                trouble = Some(failure);
                callers.abort_all();
                break;
            }
        }
    }
    let elapsed = begun.elapsed();
    if let Some(failure) = trouble {
        return Err(failure);
    }
    if let Some(pacer) = pacer {
        pacer.join().map_err(|_| "the pacing thread panicked")?;
    }
    let next = shared.next.load(Ordering::Relaxed).min(shared.end);
    Ok(Measured { right: latency.len(), next, elapsed, latency })
}

/// Lets requests go at their times. A thread of its own: the runtime's timers are a millisecond coarse.
#[expect(clippy::disallowed_methods, reason = "this thread does nothing but sleep")]
fn pace<C>(shared: &Shared<C>) {
    let Some(pace) = &shared.pace else { return };
    for index in shared.next.load(Ordering::Relaxed).max(pace.first)..shared.end {
        let left = pace.intended(index).saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
        pace.due.add_permits(1);
    }
    // Whoever waits for a number beyond the last one finds that there is none.
    pace.due.close();
}

impl Pace {
    fn intended(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(self.every.as_secs_f64() * count(index - self.first))
    }
}

async fn call<C: Calls>(mut connection: Connection, shared: Arc<Shared<C>>) -> Outcome<Histogram<u64>> {
    let mut latency = histogram()?;
    let mut request = Vec::with_capacity(1024);
    while let Some((index, intended)) = shared.take().await {
        request.clear();
        shared.calls.write(index, &mut request);
        let intended = intended.unwrap_or_else(Instant::now);
        shared.calls.starts(index, intended);
        let reply = tokio::time::timeout(PATIENCE, connection.call(&request)).await;
        let reply = reply.map_err(|_| "no reply in a minute")??;
        if !shared.calls.is_right(index, reply.status, reply.body) {
            let body = String::from_utf8_lossy(reply.body);
            return Err(format!("request {index} was answered {}: {body}", reply.status).into());
        }
        let taken = u64::try_from(intended.elapsed().as_micros()).unwrap_or(LONGEST_US);
        latency.record(taken.clamp(1, LONGEST_US))?;
    }
    Ok(latency)
}

impl<C> Shared<C> {
    /// The next request, once it may go, and when it should.
    async fn take(&self) -> Option<(u64, Option<Instant>)> {
        if let Some(pace) = &self.pace {
            // The semaphore closes when all have been let go, which may be before all of them have been taken.
            if let Ok(permit) = pace.due.acquire().await {
                permit.forget();
            }
        }
        if let Some(gate) = &self.gate {
            let permit = match self.deadline {
                Some(deadline) => tokio::time::timeout_at(deadline.into(), gate.acquire()).await.ok()?,
                None => gate.acquire().await,
            };
            permit.ok()?.forget();
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.end {
            return None;
        }
        Some((index, self.pace.as_ref().map(|pace| pace.intended(index))))
    }
}
