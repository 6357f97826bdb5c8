//! Whether the process can do its work, in words for operators and bare for load balancers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use common::queue::Queue;
use common::store::Store;
use common::tenancy::Directory;
use uuid::Uuid;

use crate::core::Api;
use crate::doors::Doors;

/// How long the store may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks store and queue how they are.
#[derive(Debug, Clone)]
pub struct Health {
    store: Store,
    queue: Arc<dyn Queue>,
    /// Doors by their names, and the projects that they are bound to.
    doors: Vec<(&'static str, Uuid)>,
    directory: Directory,
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
    pub fn new(store: Store, queue: Arc<dyn Queue>, directory: Directory) -> Self {
        Self { store, queue, doors: Vec::new(), directory }
    }

    /// The same for a process with these doors.
    #[must_use]
    pub fn with_doors(self, doors: &Doors) -> Self {
        Self { doors: doors.bound().collect(), ..self }
    }

    /// The doors that stay closed although they are bound: there is no such project. While the store is away that is not
    /// known, and nothing is said.
    pub async fn closed_doors(&self) -> Vec<String> {
        let mut closed = Vec::new();
        for (door, project) in &self.doors {
            if let Ok(None) = self.directory.door(*project).await {
                let name = project.simple();
                closed.push(format!("doors.{door} answers 404: there is no project PRJ_{name} (otpd project list)"));
            }
        }
        closed
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
        let doors = if ready { tokio::time::timeout(PATIENCE, self.closed_doors()).await.ok() } else { None };
        Readiness { ready, problems: store.into_iter().chain(queue).chain(doors.into_iter().flatten()).collect() }
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

/// Is it alive?
#[utoipa::path(get, path = "/healthz", operation_id = "alive", responses((status = 200, description = "It is", body = str)))]
pub(crate) async fn alive() -> &'static str {
    "ok"
}

/// Can it accept?
///
/// For load balancers: no more than that is told in public.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    responses(
        (status = 200, description = "The store answers", body = str),
        (status = 503, description = "The store does not answer", body = str),
    ),
)]
pub(crate) async fn ready(State(api): State<Api>) -> (StatusCode, &'static str) {
    match api.parts.health.readiness().await.ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}
