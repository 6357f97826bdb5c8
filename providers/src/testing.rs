//! Messages, tools and renderings that the tests of all providers share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::clock::Clock;
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::ids::{AttemptId, DispatchId, VerificationId};
use common::otp::provider_error::Cause;
use common::otp::target::{Strictness, Target};
use common::tenancy::new_project_id;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::http::Reply;
use crate::inbox::Inbox;
use crate::registry::Tools;
use crate::sandbox::ReceiptSink;
use crate::{Check, Content, Message, ReceiptEvent, ReceiptRequest, http};

/// What stubs ask for with `Retry-After`.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);
pub(crate) const ATTEMPT: &str = "01980283-4d40-7000-8000-00000000002a:1:1";

/// Keeps what comes, for tests to look at.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) messages: Mutex<Vec<Message>>,
    pub(crate) receipts: Mutex<Vec<ReceiptEvent>>,
}

#[async_trait]
impl Inbox for Kept {
    async fn keep(&self, message: &Message) -> Result<(), String> {
        self.messages.lock().expect("lock").push(message.clone());
        Ok(())
    }
}

impl ReceiptSink for Kept {
    fn receive(&self, provider: &str, event: ReceiptEvent) {
        assert_eq!(provider, "sandbox");
        self.receipts.lock().expect("lock").push(event);
    }
}

/// A port that refuses connections while the socket lives: it is bound, and nobody listens.
pub(crate) fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("port");
    let port = socket.local_addr().expect("address").port();
    (socket, port)
}

pub(crate) fn tools() -> Tools {
    tools_with(&Arc::default())
}

pub(crate) fn tools_with(kept: &Arc<Kept>) -> Tools {
    Tools {
        http: http::client().expect("client"),
        inbox: Arc::<Kept>::clone(kept),
        receipts: Arc::<Kept>::clone(kept),
        tasks: TaskTracker::new(),
        clock: Clock::default(),
    }
}

fn message(channel: Channel, target: &str) -> Message {
    let verification = VerificationId::from_uuid(Uuid::from_u128(0x0198_0283_4d40_7000_8000_0000_0000_002a));
    let content = Content { text: "Your code is 482913".to_owned(), subject: None, html: None };
    Message {
        attempt: AttemptId { dispatch: DispatchId { verification, n: 1 }, n: 1 },
        project: new_project_id(),
        project_name: "shop".to_owned(),
        mode: Mode::Live,
        channel,
        target: Target::parse(channel, target, None, Strictness::Canonical).expect("target"),
        code: Code::parse("482913").expect("code"),
        locale: "en".to_owned(),
        content,
        remaining: Duration::from_millis(299_900),
        callback: Some(format!("https://otp.example.com/receipts/x?attempt={ATTEMPT}")),
    }
}

pub(crate) fn sms() -> Message {
    sms_to("+14155552671")
}

pub(crate) fn sms_to(target: &str) -> Message {
    message(Channel::Sms, target)
}

pub(crate) fn whatsapp() -> Message {
    message(Channel::Whatsapp, "+14155552671")
}

pub(crate) fn email() -> Message {
    email_to("Ann@example.com")
}

pub(crate) fn email_to(target: &str) -> Message {
    let mut message = message(Channel::Email, target);
    message.content.subject = Some("Your code for shop".to_owned());
    message.content.html = Some("<p>Your code is <b>482913</b></p>".to_owned());
    message
}

/// A receipt request as the API hands it over.
pub(crate) fn receipt<'a>(url: &'a str, headers: &'a [(String, String)], body: &'a [u8]) -> ReceiptRequest<'a> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    ReceiptRequest { url, secret: None, query, headers, body }
}

/// A vendor that answers everything the same.
pub(crate) async fn answering(status: u16, body: Value) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).insert_header("retry-after", "2").set_body_json(body);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// An answer as it came back, with the same `Retry-After`.
pub(crate) fn reply(status: u16, body: &(impl ToString + ?Sized)) -> Reply {
    Reply { status, retry_after: Some(RETRY_AFTER), body: body.to_string().into_bytes(), whole: true }
}

/// The one request that a vendor got, its JSON in lines.
pub(crate) async fn received_json(server: &MockServer) -> String {
    let mut request = server.received_requests().await.expect("requests").remove(0);
    let body: Value = request.body_json().expect("JSON");
    request.body = serde_json::to_vec_pretty(&body).expect("JSON");
    rendered(&request)
}

/// A check of a vendor that answers, and says that it cannot now.
#[track_caller]
pub(crate) fn assert_ill(check: Check) {
    assert!(matches!(check.trouble, Some((Cause::Unavailable, _))), "{check:?}");
    assert_eq!(Check { trouble: None, ..check }, Check { reachable: Some(true), ..Check::default() });
}

/// A table of settings with some more or other ones.
pub(crate) fn with(mut settings: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut settings, more) else { panic!("tables") };
    fields.extend(more);
    settings
}

/// A request as it went out: its line, the headers that matter, its body.
pub(crate) fn rendered(request: &wiremock::Request) -> String {
    let shown = ["authorization", "apikey", "content-type", "user-agent", "accept"];
    let headers = request.headers.iter().filter(|(name, _)| shown.contains(&name.as_str()));
    let headers: String = headers.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?"))).collect();
    let body = String::from_utf8_lossy(&request.body).replace('&', "\n&");
    format!("{} {}\n{headers}\n{body}", request.method, request.url.path())
}
