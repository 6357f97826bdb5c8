//! What all vendors with an HTTP API share: the client, and how its troubles are read. Nothing vendor-specific.

use std::cell::RefCell;
use std::error::Error;
use std::time::Duration;

use common::clock::Clock;
use common::otp::finish::Failure;
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::time::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::time::Instant;

use crate::Message;
use crate::words::failure;

const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Replies of vendors are a few kilobytes at most; what goes beyond this is not read.
const LONGEST_BODY: usize = 64 * 1024;
const LONGEST_RETRY_AFTER: u64 = 3600;

/// The one HTTP client: 10 s a request, 3 s to connect, no redirects, no proxy.
///
/// # Errors
/// When the system has no usable TLS configuration.
pub fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("otpd/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What goes by in the exchanges of one check, whatever the vendor's file makes of them.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What the last reply's `Date` says, and when it came.
    pub(crate) date: Option<(Timestamp, Instant)>,
    /// Why the last request that got no reply got none.
    pub(crate) trouble: Option<Trouble>,
}

tokio::task_local! {
    static HEARD: RefCell<Heard>;
}

/// Runs a check, and tells what was heard during its exchanges.
pub(crate) async fn overhear<F: Future>(check: F) -> (F::Output, Heard) {
    let heard = async {
        let output = check.await;
        (output, HEARD.with(RefCell::take))
    };
    HEARD.scope(RefCell::default(), heard).await
}

fn hear(result: &Result<Response, Trouble>) {
    // Outside of a check nobody listens.
    let _ = HEARD.try_with(|heard| {
        let mut heard = heard.borrow_mut();
        match result {
            Ok(response) => {
                let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
                let date = date.and_then(Timestamp::parse_http_date);
                heard.date = date.map(|date| (date, Instant::now())).or(heard.date);
            }
            Err(trouble) => heard.trouble = Some(trouble.clone()),
        }
    });
}

/// What a vendor answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The body as text, for a detail.
    pub(crate) fn words(&self) -> String {
        format!("{}: {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    pub(crate) words: String,
}

impl Trouble {
    pub(crate) fn failure(self, message: &Message) -> Failure {
        failure(message, self.cause, &self.words)
    }
}

/// Sends the request and reads the answer. A body that breaks off is no trouble: its status has been said.
pub(crate) async fn exchange(request: RequestBuilder) -> Result<Reply, Trouble> {
    exchange_with_headers(request).await.map(|(reply, _)| reply)
}

/// The same for vendors that say something in headers of their own.
pub(crate) async fn exchange_with_headers(request: RequestBuilder) -> Result<(Reply, HeaderMap), Trouble> {
    let sent = request.send().await.map_err(trouble);
    hear(&sent);
    let mut response = sent?;
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let mut body = Vec::new();
    let whole = loop {
        match response.chunk().await {
            Ok(None) => break true,
            Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_BODY => body.extend_from_slice(&chunk),
            Ok(Some(_)) | Err(_) => break false,
        }
    };
    Ok((Reply { status, retry_after, body, whole }, std::mem::take(response.headers_mut())))
}

/// A number that some vendors write as text.
pub(crate) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Seconds, or a date, which counts from the reply's own (RFC 9110, section 10.2.3).
fn retry_after(response: &Response) -> Option<Duration> {
    let header = |name| response.headers().get(name)?.to_str().ok().map(str::trim);
    let date = header(DATE).and_then(Timestamp::parse_http_date);
    wait_of(header(RETRY_AFTER)?, date.unwrap_or_else(|| Clock::default().now()))
}

fn wait_of(text: &str, now: Timestamp) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is longer than the longest, too.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX).min(LONGEST_RETRY_AFTER)));
    }
    let until = Timestamp::parse_http_date(text)?;
    let seconds = u64::try_from((until.as_ms() - now.as_ms()).div_euclid(1000)).unwrap_or(0);
    Some(Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER)))
}

/// Whether the words of a trouble say that TLS is what failed. Errors of TLS have no type here.
pub(crate) fn is_about_tls(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let signs =
        ["certificate", "handshake", "fatal alert", "corrupt message", "peer is incompatible", "peer misbehaved"];
    signs.iter().any(|sign| words.contains(sign))
}

fn trouble(error: reqwest::Error) -> Trouble {
    let cause = if error.is_builder() {
        Cause::Misconfigured(Misconfiguration::Endpoint)
    } else if error.is_connect() {
        // Names, TCP and TLS: the request has not left.
        Cause::Unavailable
    } else {
        Cause::Ambiguous
    };
    // The address may hold a token.
    Trouble { cause, words: chain(&error.without_url()) }
}

/// An error with its sources, which say what really happened.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(&format!(": {error}"));
        source = error.source();
    }
    words
}

/// An address that messages may be sent to: HTTPS, or plain HTTP where that is allowed or stays on this machine.
pub(crate) fn endpoint(text: &str, allow_http: bool) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_loopback = url.host_str().is_some_and(is_loopback);
    let is_fit = url.scheme() == "https" || (url.scheme() == "http" && (allow_http || is_loopback));
    (is_fit && url.username().is_empty() && url.password().is_none()).then_some(url)
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use crate::testing::closed_port;
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn get(url: &str) -> Result<Reply, Trouble> {
        exchange(client().expect("client").get(url)).await
    }

    #[track_caller]
    fn check(reply: Result<Reply, Trouble>, expected: &Cause) {
        let trouble = reply.expect_err("no answer");
        assert_eq!(trouble.cause, *expected, "{}", trouble.words);
        assert!(!trouble.words.contains("secret"), "{}", trouble.words);
    }

    #[tokio::test]
    async fn what_did_not_leave_is_unavailable() {
        let (_closed, port) = closed_port();
        check(get(&format!("http://127.0.0.1:{port}/secret")).await, &Cause::Unavailable);
        check(get("http://nowhere.invalid/secret").await, &Cause::Unavailable);
    }

    #[tokio::test]
    async fn a_server_without_tls_is_unavailable() {
        let server = MockServer::start().await;
        check(get(&format!("https://{}/secret", server.address())).await, &Cause::Unavailable);
    }

    #[tokio::test]
    async fn what_left_without_an_answer_is_ambiguous() {
        let server = MockServer::start().await;
        let late = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
        Mock::given(any()).respond_with(late).mount(&server).await;
        let patient = client().expect("client").get(format!("{}/secret", server.uri()));
        check(exchange(patient.timeout(Duration::from_secs(2))).await, &Cause::Ambiguous);

        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let url = format!("http://{}/secret", listener.local_addr().expect("address"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("connection");
            let _ = stream.read(&mut [0; 1024]);
        });
        check(get(&url).await, &Cause::Ambiguous);
    }

    #[tokio::test]
    async fn redirects_are_answers_and_bodies_are_bounded() {
        let server = MockServer::start().await;
        let redirect =
            ResponseTemplate::new(302).insert_header("location", "/elsewhere").insert_header("retry-after", "7");
        Mock::given(any()).respond_with(redirect.set_body_bytes(vec![b'x'; LONGEST_BODY + 1])).mount(&server).await;
        let reply = get(&server.uri()).await.expect("answer");
        assert_eq!((reply.status, reply.retry_after, reply.whole), (302, Some(Duration::from_secs(7)), false));
        assert!(reply.body.len() <= LONGEST_BODY);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_keeps_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let url = format!("http://{}/", listener.local_addr().expect("address"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("connection");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{");
        });
        let reply = get(&url).await.expect("answer");
        assert_eq!((reply.status, reply.whole), (201, false));
    }

    #[test]
    fn a_wait_is_read_in_both_its_forms() {
        let now = Timestamp::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (text, seconds) in [
            ("7", Some(7)),
            ("99999999999999999999999", Some(LONGEST_RETRY_AFTER)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(LONGEST_RETRY_AFTER)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(wait_of(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[tokio::test]
    async fn a_date_to_wait_for_counts_from_the_date_of_its_reply() {
        let server = MockServer::start().await;
        let busy = ResponseTemplate::new(429)
            .insert_header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .insert_header("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT");
        Mock::given(any()).respond_with(busy).mount(&server).await;
        assert_eq!(get(&server.uri()).await.expect("answer").retry_after, Some(Duration::from_secs(20)));
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_allowed() {
        assert!(endpoint("https://a.example/x", false).is_some());
        assert!(endpoint("http://127.0.0.1:1/x", false).is_some() && endpoint("http://[::1]/x", false).is_some());
        assert!(endpoint("http://a.example/x", true).is_some());
        for bad in ["http://a.example/x", "ftp://localhost/", "https://u:p@a.example/", "a.example", ""] {
            assert!(endpoint(bad, false).is_none(), "{bad}");
        }
    }
}
