//! A sender of the tests' own behind the webhook provider: it remembers what arrives and answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

use super::beside::Beside;
use super::eventually;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) struct Stub {
    url: String,
    shared: Arc<Shared>,
    _server: Beside,
}

struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    answer: Mutex<Answer>,
}

/// One message that reached the sender.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) dispatch: String,
    pub(crate) target: String,
    pub(crate) code: String,
}

/// What it answers, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    status: StatusCode,
    after: Duration,
}

impl Answer {
    pub(crate) const AT_ONCE: Self = Self::after(Duration::ZERO);
    pub(crate) const NEVER: Self = Self::after(Duration::from_secs(3600));

    pub(crate) const fn after(time: Duration) -> Self {
        Self { status: StatusCode::OK, after: time }
    }

    /// At once, with another status than 200.
    pub(crate) const fn with(status: StatusCode) -> Self {
        Self { status, after: Duration::ZERO }
    }
}

impl Stub {
    pub(crate) fn start(answer: Answer) -> Self {
        let shared = Arc::new(Shared { arrivals: Mutex::default(), answer: Mutex::new(answer) });
        let router = axum::Router::new().route("/", post(take)).with_state(Arc::clone(&shared));
        let server = Beside::start(move |listener| async move { axum::serve(listener, router).await });
        Self { url: format!("http://{}/", server.address), shared, _server: server }
    }

    /// The settings of a program that sends everything here.
    pub(crate) fn settings(&self) -> Vec<(&str, &str)> {
        vec![
            ("OTPD_PROVIDERS__STUB__KIND", "webhook"),
            ("OTPD_PROVIDERS__STUB__URL", &self.url),
            ("OTPD_PROVIDERS__STUB__SECRETS", SECRET),
            ("OTPD_PROVIDERS__STUB__CHANNELS", "email,sms"),
        ]
    }

    /// From now on; what it has begun to answer it goes on with.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().expect("answer") = answer;
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().expect("arrivals").clone()
    }

    /// Waits until so many messages have arrived.
    pub(crate) async fn reached(&self, count: usize) -> Vec<Arrival> {
        eventually(&format!("{count} arrivals"), || async {
            let arrivals = self.arrivals();
            (arrivals.len() >= count).then_some(arrivals)
        })
        .await
    }
}

async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> (StatusCode, &'static str) {
    let posted: Value = serde_json::from_slice(&body).expect("JSON");
    let text = |field: &str| posted[field].as_str().expect("text").to_owned();
    let arrival = Arrival { dispatch: text("id"), target: text("target"), code: text("code") };
    shared.arrivals.lock().expect("arrivals").push(arrival);
    let answer = *shared.answer.lock().expect("answer");
    tokio::time::sleep(answer.after).await;
    (answer.status, "{}")
}
