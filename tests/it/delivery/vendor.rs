//! A vendor of the tests' own: it keeps what it is asked, answers as it is told, and signs receipts. Messages come to it
//! by POST; what comes by GET or HEAD is a check, which it keeps and answers apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use serde_json::Value;
use tokio::sync::watch;

use crate::harness::beside::Beside;
use crate::harness::client::{Client, Reply, reply};
use crate::harness::eventually;
pub(crate) use crate::harness::signature::signature;

pub(crate) const AUTH_TOKEN: &str = "swordfish";
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) struct Vendor {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _server: Beside,
}

struct Shared {
    messages: Side,
    checks: Side,
}

/// What is asked in one of the two ways, and how it is answered.
struct Side {
    asked: Mutex<Vec<Asked>>,
    answer: Mutex<Answer>,
    holds: watch::Sender<bool>,
}

impl Side {
    fn new(answer: Answer) -> Self {
        Self { asked: Mutex::default(), answer: Mutex::new(answer), holds: watch::Sender::new(false) }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("asked").clone()
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("answer") = answer;
    }
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// `{n}` in the body is the number of the request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    body: String,
    retry_after: Option<u32>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self { status, body: body.to_owned(), retry_after: None }
    }

    pub(crate) fn later(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// As Twilio takes a message.
    pub(crate) fn queued() -> Self {
        Self::new(201, r#"{"sid":"SM{n}","status":"queued","error_code":null}"#)
    }

    /// As Twilio refuses one.
    pub(crate) fn refused(status: u16, code: u32) -> Self {
        Self::new(status, &format!(r#"{{"code":{code},"message":"No","status":{status}}}"#))
    }

    /// As Twilio answers a check of an account with so many dollars.
    pub(crate) fn account(balance: &str) -> Self {
        Self::new(200, &format!(r#"{{"status":"active","balance":"{balance}","currency":"USD"}}"#))
    }

    /// As a sender of one's own takes a message.
    pub(crate) fn taken() -> Self {
        Self::new(200, r#"{"message_id":"own-{n}"}"#)
    }
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("text")
    }

    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        let body = std::str::from_utf8(&self.body).expect("UTF-8");
        let url = Url::parse(&format!("http://form/?{body}")).expect("a form");
        url.query_pairs().into_owned().collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Vendor {
    pub(crate) fn start(answer: Answer) -> Self {
        let shared = Arc::new(Shared { messages: Side::new(answer), checks: Side::new(Answer::account("12.50")) });
        let router = axum::Router::new().fallback(take).with_state(Arc::clone(&shared));
        let server = Beside::start(move |listener| async move { axum::serve(listener, router).await });
        Self { url: format!("http://{}", server.address), shared, _server: server }
    }

    /// How messages are answered from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        self.shared.messages.answer(answer);
    }

    /// How checks are answered from now on.
    pub(crate) fn answer_checks(&self, answer: Answer) {
        self.shared.checks.answer(answer);
    }

    /// Answers no message until told to go on.
    pub(crate) fn hold(&self) {
        self.shared.messages.holds.send_replace(true);
    }

    pub(crate) fn go_on(&self) {
        self.shared.messages.holds.send_replace(false);
    }

    /// Answers no check until told to go on.
    pub(crate) fn hold_checks(&self) {
        self.shared.checks.holds.send_replace(true);
    }

    pub(crate) fn go_on_with_checks(&self) {
        self.shared.checks.holds.send_replace(false);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.messages.asked()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked().len()
    }

    pub(crate) fn checks(&self) -> Vec<Asked> {
        self.shared.checks.asked()
    }

    /// Waits for so many more requests of checks.
    pub(crate) async fn more_checks(&self, more: usize) {
        let before = self.checks().len();
        let come = || async { (self.checks().len() >= before + more).then_some(()) };
        eventually(&format!("{more} more checks"), come).await;
    }

    /// The newest request, once there have been so many.
    pub(crate) async fn nth(&self, count: usize) -> Asked {
        eventually(&format!("{count} requests"), || async {
            let asked = self.asked();
            (asked.len() >= count).then(|| asked.last().cloned())?
        })
        .await
    }
}

async fn take(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let is_check = matches!(parts.method, Method::GET | Method::HEAD);
    let side = if is_check { &shared.checks } else { &shared.messages };
    let answer = side.answer.lock().expect("answer").clone();
    let number = {
        let mut asked = side.asked.lock().expect("asked");
        asked.push(Asked { path, headers: parts.headers, body });
        asked.len()
    };
    let _ = side.holds.subscribe().wait_for(|holds| !holds).await;
    let mut response = Response::builder().status(answer.status).header("content-type", "application/json");
    if let Some(seconds) = answer.retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(answer.body.replace("{n}", &number.to_string()).into()).expect("a response")
}

/// A receipt as Twilio posts it: signed over the public URL that it was given, and carried to us by whoever stands there.
pub(crate) async fn twilio_receipt(client: &Client, callback: &str, token: &str, sid: &str, status: &str) -> Reply {
    let fields = [("AccountSid", "AC1"), ("MessageSid", sid), ("MessageStatus", status)];
    let signed = fields.iter().fold(callback.to_owned(), |text, (name, value)| format!("{text}{name}{value}"));
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let form = Url::parse_with_params("http://form/", fields).expect("a form");
    let request = client.http.post(client.url(&path(callback))).header("x-twilio-signature", signature);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    reply(request.body(form.query().expect("fields").to_owned())).await
}

/// A receipt as a sender of one's own posts it.
pub(crate) async fn own_receipt(client: &Client, path: &str, timestamp: &str, secret: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let request = client.http.post(client.url(path)).header("content-type", "application/json");
    let request = request.header("webhook-id", "receipt-1").header("webhook-timestamp", timestamp);
    let request = request.header("webhook-signature", signature(secret, "receipt-1", timestamp, body.as_bytes()));
    reply(request.body(body)).await
}

/// Path and query of a URL.
pub(crate) fn path(url: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}
