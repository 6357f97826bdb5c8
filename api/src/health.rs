//! Whether the process can do its work, in words for operators and bare for load balancers.

use std::sync::Arc;
use std::time::Duration;

use common::queue::Queue;
use common::store::Store;

/// How long the store may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks store and queue how they are.
#[derive(Debug, Clone)]
pub struct Health {
    store: Store,
    queue: Arc<dyn Queue>,
}

/// `ready` without `problems` is well, with them degraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// It can accept: the store answers.
    pub ready: bool,
    pub problems: Vec<String>,
}

impl Health {
    #[must_use]
    pub fn new(store: Store, queue: Arc<dyn Queue>) -> Self {
        Self { store, queue }
    }

    pub async fn readiness(&self) -> Readiness {
        let store = tokio::time::timeout(PATIENCE, self.store.now());
        let (store, queue) = tokio::join!(store, self.queue.health());
        let store = match store {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the store did not answer within {} s", PATIENCE.as_secs())),
        };
        let ready = store.is_none();
        let queue = queue.err().map(|problem| format!("the queue is away ({problem}): sends are accepted and wait"));
        Readiness { ready, problems: store.into_iter().chain(queue).collect() }
    }
}

impl Readiness {
    /// For operators.
    #[must_use]
    pub fn in_words(&self) -> String {
        let state = match (self.ready, self.problems.is_empty()) {
            (true, true) => "ready",
            (true, false) => "degraded",
            (false, _) => "not ready",
        };
        std::iter::once(state).chain(self.problems.iter().map(String::as_str)).collect::<Vec<_>>().join("\n")
    }
}
