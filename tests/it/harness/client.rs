//! A caller of the v1 door, and what it gets back.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::clock::TestClock;
use super::{PATIENCE, eventually};

#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) live_key: String,
    pub(crate) sandbox_key: String,
}

/// Calls each of the system's APIs in turn, with a project's sandbox key unless told otherwise.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) urls: Vec<String>,
    pub(crate) admin: String,
    pub(crate) project: Project,
    pub(crate) key: String,
    pub(crate) clock: TestClock,
    turn: Arc<AtomicUsize>,
}

/// A reply, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("{field} in {}", self.body))
    }

    /// The same reply, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl Client {
    pub(crate) fn new(urls: Vec<String>, admin: String, project: Project, clock: TestClock) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let key = project.sandbox_key.clone();
        Self { http, urls, admin, project, key, clock, turn: Arc::default() }
    }

    /// The same caller with its live key.
    pub(crate) fn live(&self) -> Self {
        Self { key: self.project.live_key.clone(), ..self.clone() }
    }

    /// The same caller with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// The same system with another project.
    pub(crate) fn of(&self, project: &Project) -> Self {
        Self { key: project.sandbox_key.clone(), project: project.clone(), ..self.clone() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        format!("{}{path}", self.urls[turn % self.urls.len()])
    }

    /// A request with the caller's headers, not sent yet.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, self.url(path));
        request.header("x-api-key", &self.key).header("x-project-id", &self.project.id)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        reply(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn send(&self, body: &Value) -> Reply {
        self.post("/api/v1/otp/send", body).await
    }

    /// Sends to an address; the verification's id.
    pub(crate) async fn send_to(&self, address: &str) -> String {
        let sent = self.send(&json!({ "target": address, "channel": "email" })).await;
        sent.expect(202).text("recordId").to_owned()
    }

    pub(crate) async fn verify(&self, target: &str, code: &str) -> Reply {
        self.post("/api/v1/otp/verify", &json!({ "target": target, "code": code })).await
    }

    /// Lets time stand still but for what the test adds to it, so that nothing of a few seconds is over before its turn.
    /// All must be there first: what is published in vain would wait for time to go on.
    pub(crate) async fn hold_time(&self) {
        eventually("readiness", || async {
            let ready = reply(self.http.get(format!("{}/readyz", self.admin))).await;
            (ready.body == "ready").then_some(())
        })
        .await;
        self.clock.stop();
    }

    /// The messages in the inbox for a target, newest first.
    pub(crate) async fn messages(&self, target: &str) -> Vec<Value> {
        let sandbox = Self { key: self.project.sandbox_key.clone(), ..self.clone() };
        let request = sandbox.request(Method::GET, "/api/v1/sandbox/messages").query(&[("target", target)]);
        let reply = reply(request).await.expect(200);
        reply.body["messages"].as_array().expect("messages").clone()
    }

    /// The code of the newest message for a target, once it is there.
    pub(crate) async fn code(&self, target: &str) -> String {
        eventually(&format!("a message to {target}"), || async {
            Some(self.messages(target).await.first()?["code"].as_str()?.to_owned())
        })
        .await
    }

    /// The timeline of a verification.
    pub(crate) async fn record(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/otp/records/{id}")).await.expect(200).body
    }

    /// The timeline, once its newest dispatch has one of these statuses.
    pub(crate) async fn record_in(&self, id: &str, statuses: &[&str]) -> Value {
        eventually(&format!("{id} to be one of {statuses:?}"), || async {
            let record = self.record(id).await;
            let status = record["dispatches"].as_array()?.last()?["status"].as_str()?.to_owned();
            statuses.contains(&status.as_str()).then_some(record)
        })
        .await
    }
}

/// Sends a request and reads its reply; a body that is not JSON is shown as a string.
pub(crate) async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("a reply");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Reply { status, headers, body }
}
