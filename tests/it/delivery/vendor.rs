//! A vendor of the tests' own: it keeps what it is asked, answers as it is told, and signs receipts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use serde_json::Value;
use tokio::sync::watch;

use crate::harness::beside::Beside;
use crate::harness::client::{Client, Reply, reply};
use crate::harness::eventually;

pub(super) const AUTH_TOKEN: &str = "swordfish";
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(super) struct Vendor {
    pub(super) url: String,
    shared: Arc<Shared>,
    _server: Beside,
}

struct Shared {
    asked: Mutex<Vec<Asked>>,
    answer: Mutex<Answer>,
    holds: watch::Sender<bool>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// `{n}` in the body is the number of the request.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    status: u16,
    body: String,
    retry_after: Option<u32>,
}

impl Answer {
    pub(super) fn new(status: u16, body: &str) -> Self {
        Self { status, body: body.to_owned(), retry_after: None }
    }

    pub(super) fn later(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// As Twilio takes a message.
    pub(super) fn queued() -> Self {
        Self::new(201, r#"{"sid":"SM{n}","status":"queued","error_code":null}"#)
    }

    /// As Twilio refuses one.
    pub(super) fn refused(status: u16, code: u32) -> Self {
        Self::new(status, &format!(r#"{{"code":{code},"message":"No","status":{status}}}"#))
    }

    /// As a sender of one's own takes a message.
    pub(super) fn taken() -> Self {
        Self::new(200, r#"{"message_id":"own-{n}"}"#)
    }
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("text")
    }

    pub(super) fn form(&self) -> BTreeMap<String, String> {
        let body = std::str::from_utf8(&self.body).expect("UTF-8");
        let url = Url::parse(&format!("http://form/?{body}")).expect("a form");
        url.query_pairs().into_owned().collect()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

impl Vendor {
    pub(super) fn start(answer: Answer) -> Self {
        let holds = watch::Sender::new(false);
        let shared = Arc::new(Shared { asked: Mutex::default(), answer: Mutex::new(answer), holds });
        let router = axum::Router::new().fallback(take).with_state(Arc::clone(&shared));
        let server = Beside::start(move |listener| async move { axum::serve(listener, router).await });
        Self { url: format!("http://{}", server.address), shared, _server: server }
    }

    /// From now on.
    pub(super) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().expect("answer") = answer;
    }

    /// Answers nothing until told to go on.
    pub(super) fn hold(&self) {
        self.shared.holds.send_replace(true);
    }

    pub(super) fn go_on(&self) {
        self.shared.holds.send_replace(false);
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("asked").clone()
    }

    pub(super) fn count(&self) -> usize {
        self.shared.asked.lock().expect("asked").len()
    }

    /// The newest request, once there have been so many.
    pub(super) async fn nth(&self, count: usize) -> Asked {
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
    let answer = shared.answer.lock().expect("answer").clone();
    let number = {
        let mut asked = shared.asked.lock().expect("asked");
        asked.push(Asked { path, headers: parts.headers, body });
        asked.len()
    };
    let _ = shared.holds.subscribe().wait_for(|holds| !holds).await;
    let mut response = Response::builder().status(answer.status).header("content-type", "application/json");
    if let Some(seconds) = answer.retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(answer.body.replace("{n}", &number.to_string()).into()).expect("a response")
}

/// A receipt as Twilio posts it: signed over the public URL that it was given, and carried to us by whoever stands there.
pub(super) async fn twilio_receipt(client: &Client, callback: &str, token: &str, sid: &str, status: &str) -> Reply {
    let fields = [("AccountSid", "AC1"), ("MessageSid", sid), ("MessageStatus", status)];
    let signed = fields.iter().fold(callback.to_owned(), |text, (name, value)| format!("{text}{name}{value}"));
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let form = Url::parse_with_params("http://form/", fields).expect("a form");
    let request = client.http.post(client.url(&path(callback))).header("x-twilio-signature", signature);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    reply(request.body(form.query().expect("fields").to_owned())).await
}

/// What Standard Webhooks sign, by the specification and not by our own code.
pub(super) fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let secret = secret.strip_prefix("whsec_").expect("a prefix");
    let key = hmac::Key::new(HMAC_SHA256, &BASE64_STANDARD.decode(secret).expect("base64"));
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, &signed)))
}

/// A receipt as a sender of one's own posts it.
pub(super) async fn own_receipt(client: &Client, path: &str, timestamp: &str, secret: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let request = client.http.post(client.url(path)).header("content-type", "application/json");
    let request = request.header("webhook-id", "receipt-1").header("webhook-timestamp", timestamp);
    let request = request.header("webhook-signature", signature(secret, "receipt-1", timestamp, body.as_bytes()));
    reply(request.body(body)).await
}

/// Path and query of a URL.
pub(super) fn path(url: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}
