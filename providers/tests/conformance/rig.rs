//! An adapter out of its settings, messages for it, and a stub that it sends to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::clock::Clock;
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::ids::{AttemptId, DispatchId, VerificationId};
use common::otp::target::{Strictness, Target};
use common::otp::time::Timestamp;
use common::tenancy::new_project_id;
use providers::inbox::Inbox;
use providers::registry::{self, Tools};
use providers::sandbox::ReceiptSink;
use providers::{Content, Message, Provider, ReceiptEvent, ReceiptRequest, http};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::operation::{Operation, Reply};

pub(crate) const ATTEMPT: &str = "01980283-4d40-7000-8000-00000000002a:1:1";

#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Inbox for Nowhere {
    async fn keep(&self, _: &Message) -> Result<(), String> {
        Err("nothing is kept here".to_owned())
    }
}

impl ReceiptSink for Nowhere {
    fn receive(&self, _: &str, _: ReceiptEvent) {}
}

/// The adapter of this kind, its settings a table; its clock shows this time in seconds, or the real one.
pub(crate) fn provider(kind: &str, settings: Value, now: Option<i64>) -> Arc<dyn Provider> {
    let clock = Clock::default();
    if let Some(seconds) = now {
        let machine = clock.now();
        clock.follow(Timestamp::from_ms(seconds * 1000), machine, machine);
    }
    let tools = Tools {
        http: http::client().expect("a client"),
        inbox: Arc::new(Nowhere),
        receipts: Arc::new(Nowhere),
        tasks: TaskTracker::new(),
        clock,
    };
    let settings = BTreeMap::from([(kind.to_owned(), settings)]);
    registry::build(&settings, &tools).expect("settings").remove(0)
}

pub(crate) fn message(channel: Channel, target: &str) -> Message {
    let verification = VerificationId::from_uuid(Uuid::from_u128(0x0198_0283_4d40_7000_8000_0000_0000_002a));
    let is_mail = channel == Channel::Email;
    Message {
        attempt: AttemptId { dispatch: DispatchId { verification, n: 1 }, n: 1 },
        project: new_project_id(),
        project_name: "shop".to_owned(),
        mode: Mode::Live,
        channel,
        target: Target::parse(channel, target, None, Strictness::Canonical).expect("a target"),
        code: Code::parse("482913").expect("a code"),
        locale: "en".to_owned(),
        content: Content {
            text: "Your code is 482913".to_owned(),
            subject: is_mail.then(|| "Your code for shop".to_owned()),
            html: is_mail.then(|| "<p>Your code is <b>482913</b></p>".to_owned()),
        },
        remaining: Duration::from_secs(299),
        callback: Some(format!("https://otp.example.com/receipts/x?attempt={ATTEMPT}")),
    }
}

pub(crate) fn sms() -> Message {
    message(Channel::Sms, "+14155552671")
}

pub(crate) fn whatsapp() -> Message {
    message(Channel::Whatsapp, "+14155552671")
}

pub(crate) fn email() -> Message {
    message(Channel::Email, "ann@example.com")
}

/// A vendor that answers everything so.
pub(crate) async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// Answers at one path in another way than elsewhere.
pub(crate) async fn also_answering(server: &MockServer, at: &str, body: &Value) {
    let answer = ResponseTemplate::new(200).set_body_json(body);
    Mock::given(path(at)).respond_with(answer).with_priority(1).mount(server).await;
}

/// The request that a message becomes; what became of it does not matter.
pub(crate) async fn outgoing(adapter: impl Fn(&str) -> Arc<dyn Provider>, message: &Message) -> Request {
    let server = answering(ResponseTemplate::new(200).set_body_json(json!({}))).await;
    let _ = adapter(&server.uri()).send(message).await;
    server.received_requests().await.expect("requests").pop().expect("a request")
}

/// What `send` makes of an answer: the message id, or the cause.
pub(crate) async fn outcome(adapter: &dyn Provider, message: &Message) -> String {
    match adapter.send(message).await {
        Ok(handed) => format!("taken as {}", handed.message_id.as_deref().unwrap_or("nothing")),
        Err(failure) => failure.cause.as_str().to_owned(),
    }
}

/// What `send` makes of each reply of an operation, a line each.
pub(crate) async fn outcomes(
    operation: &Operation<'_>,
    adapter: impl Fn(&str) -> Arc<dyn Provider>,
    message: &Message,
) -> String {
    let mut lines = Vec::new();
    for Reply { status, name, body } in operation.replies() {
        let server = answering(ResponseTemplate::new(status).set_body_json(body)).await;
        lines.push(format!("{status} {name}: {}", outcome(&*adapter(&server.uri()), message).await));
    }
    lines.join("\n")
}

/// What an adapter makes of a receipt, as message id, status and detail.
pub(crate) fn received(adapter: &dyn Provider, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<String> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let secret = adapter.receipt_secret().map(secrecy::ExposeSecret::expose_secret);
    let request = ReceiptRequest { url, secret, query, headers: &headers, body };
    match adapter.receipts(&request) {
        Ok(events) => events
            .iter()
            .map(|event| {
                let detail = event.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
                format!("{} {:?}{detail}", event.message_id, event.status).to_ascii_lowercase()
            })
            .collect(),
        Err(problem) => vec![problem.to_string()],
    }
}
