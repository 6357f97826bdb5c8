//! Many sends at once, and how they must end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::eventually;
use super::stub::Stub;

/// Callers that send at the same time.
const CALLERS: usize = 32;
/// The last sends of a burst, which wait for its end: however slow or fast all goes, a burst is not over before.
const LAST: usize = 50;
/// How long nothing may happen before the clock is moved on, and by how much.
const STILL: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_secs(5);
/// The same while a worker holds something. It may be slow and not dead, and then loses what it holds.
const STILL_HELD: Duration = Duration::from_secs(8);
const LEASE: Duration = Duration::from_secs(16);
const TERMINAL: [&str; 5] = ["delivered", "sent", "undelivered", "failed", "expired"];

/// A send that was answered 202.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) id: String,
}

/// Sends under way.
pub(crate) struct Burst {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

struct Shared {
    client: Client,
    name: String,
    count: usize,
    next: AtomicUsize,
    ends: CancellationToken,
    sent: Mutex<Vec<Sent>>,
    unanswered: Mutex<Vec<String>>,
}

/// What became of a burst: what was accepted, and the keys of sends that were not.
pub(crate) struct Answers {
    pub(crate) sent: Vec<Sent>,
    pub(crate) unanswered: Vec<String>,
}

impl Burst {
    /// Begins `count` sends, each to its own address, named after the burst, and with its own idempotency key.
    pub(crate) fn start(client: &Client, name: &str, count: usize) -> Self {
        let shared = Arc::new(Shared {
            client: client.clone(),
            name: name.to_owned(),
            count,
            next: AtomicUsize::new(0),
            ends: CancellationToken::new(),
            sent: Mutex::default(),
            unanswered: Mutex::default(),
        });
        let callers = (0..CALLERS).map(|_| call(Arc::clone(&shared))).collect();
        Self { shared, callers }
    }

    /// Waits until so many have been accepted.
    pub(crate) async fn reached(&self, count: usize) {
        eventually(&format!("{count} accepted"), || async {
            (self.shared.sent.lock().expect("sent").len() >= count).then_some(())
        })
        .await;
    }

    /// Lets the last ones go, and waits for all.
    pub(crate) async fn ended(self) -> Answers {
        self.shared.ends.cancel();
        self.callers.join_all().await;
        let sent = self.shared.sent.lock().expect("sent").clone();
        let unanswered = self.shared.unanswered.lock().expect("unanswered").clone();
        Answers { sent, unanswered }
    }
}

async fn call(shared: Arc<Shared>) {
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.count {
            return;
        }
        if number + LAST >= shared.count {
            shared.ends.cancelled().await;
        }
        let key = format!("{}{number}", shared.name);
        match send(&shared.client, &key).await {
            Some(sent) => shared.sent.lock().expect("sent").push(sent),
            None => shared.unanswered.lock().expect("unanswered").push(key),
        }
    }
}

/// Sends to the address of an idempotency key; `None` when it was not accepted.
pub(crate) async fn send(client: &Client, key: &str) -> Option<Sent> {
    let target = format!("{key}@example.com");
    let request = client.request(Method::POST, "/api/v1/otp/send").header("idempotency-key", key);
    let response = request.json(&json!({ "target": target, "channel": "email" })).send().await.ok()?;
    if response.status() != 202 {
        return None;
    }
    let body: Value = response.json().await.ok()?;
    Some(Sent { id: body["recordId"].as_str()?.to_owned() })
}

/// The timelines of these sends once each has ended. Where nothing happens by itself, time is moved on.
pub(crate) async fn timelines(client: &Client, sent: &[Sent]) -> Vec<Value> {
    let mut ended = Vec::new();
    let mut pending: Vec<String> = sent.iter().map(|sent| sent.id.clone()).collect();
    let (mut since, end) = (Instant::now(), Instant::now() + Duration::from_secs(300));
    while !pending.is_empty() {
        assert!(Instant::now() < end, "{} have not ended, {} among them", pending.len(), pending[0]);
        let (before, mut is_held) = (pending.len(), false);
        let found: Vec<Value> = stream::iter(std::mem::take(&mut pending))
            .map(|id| async move { client.record(&id).await })
            .buffer_unordered(CALLERS)
            .collect()
            .await;
        for timeline in found {
            if is_ended(&timeline) {
                ended.push(timeline);
            } else {
                is_held |= is_sending(&timeline);
                pending.push(timeline["id"].as_str().expect("an id").to_owned());
            }
        }
        let (still, step) = if is_held { (STILL_HELD, LEASE) } else { (STILL, STEP) };
        if pending.len() < before {
            since = Instant::now();
        } else if since.elapsed() > still {
            client.clock.advance(step);
            since = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ended
}

fn is_ended(timeline: &Value) -> bool {
    let dispatches = timeline["dispatches"].as_array().expect("dispatches");
    dispatches.iter().all(|dispatch| TERMINAL.contains(&dispatch["status"].as_str().expect("a status")))
}

/// Whether a worker is at it, or was when it died.
fn is_sending(timeline: &Value) -> bool {
    timeline["dispatches"].as_array().expect("dispatches").iter().any(|dispatch| dispatch["status"] == "sending")
}

/// That each was handed over, and none came twice but for attempts whose outcome nobody knows.
pub(crate) fn assert_handed_over_once(stub: &Stub, timelines: &[Value]) {
    let mut arrived: HashMap<String, Vec<String>> = HashMap::new();
    for arrival in stub.arrivals() {
        arrived.entry(arrival.dispatch).or_default().push(arrival.code);
    }
    for dispatch in timelines.iter().flat_map(|timeline| timeline["dispatches"].as_array().expect("dispatches")) {
        assert!(["sent", "delivered"].contains(&dispatch["status"].as_str().expect("a status")), "{dispatch}");
        let codes = arrived.get(dispatch["id"].as_str().expect("an id")).map_or(&[][..], Vec::as_slice);
        let most = 1 + ambiguous(dispatch);
        assert!((1..=most).contains(&codes.len()), "arrived {} times: {dispatch}", codes.len());
        assert!(codes.iter().all(|code| *code == codes[0]), "another code: {dispatch}");
    }
}

/// The attempts of a dispatch whose outcome nobody knows.
pub(crate) fn ambiguous(dispatch: &Value) -> usize {
    let attempts = dispatch["attempts"].as_array().expect("attempts");
    attempts.iter().filter(|attempt| attempt["cause"] == "ambiguous").count()
}
