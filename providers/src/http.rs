//! What all vendors with an HTTP API share: the client, and how its troubles are read. Nothing vendor-specific.

use std::error::Error;
use std::time::Duration;

use common::otp::finish::Failure;
use common::otp::provider_error::{Cause, Misconfiguration};
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};

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
    let mut response = request.send().await.map_err(trouble)?;
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let mut body = Vec::new();
    let whole = loop {
        match response.chunk().await {
            Ok(None) => break true,
            Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_BODY => body.extend_from_slice(&chunk),
            Ok(Some(_)) | Err(_) => break false,
        }
    };
    Ok(Reply { status, retry_after, body, whole })
}

/// In seconds; the other form, a date, is not used by any vendor here.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER)))
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
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn get(url: &str) -> Result<Reply, Trouble> {
        exchange(client().expect("client").get(url).timeout(Duration::from_millis(300))).await
    }

    #[track_caller]
    fn check(reply: Result<Reply, Trouble>, expected: &Cause) {
        let trouble = reply.expect_err("no answer");
        assert_eq!(trouble.cause, *expected, "{}", trouble.words);
        assert!(!trouble.words.contains("secret"), "{}", trouble.words);
    }

    #[tokio::test]
    async fn what_did_not_leave_is_unavailable() {
        let port = TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address").port();
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
        let late = ResponseTemplate::new(200).set_delay(Duration::from_secs(2));
        Mock::given(any()).respond_with(late).mount(&server).await;
        check(get(&format!("{}/secret", server.uri())).await, &Cause::Ambiguous);

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
    fn plain_http_stays_on_this_machine_unless_allowed() {
        assert!(endpoint("https://a.example/x", false).is_some());
        assert!(endpoint("http://127.0.0.1:1/x", false).is_some() && endpoint("http://[::1]/x", false).is_some());
        assert!(endpoint("http://a.example/x", true).is_some());
        for bad in ["http://a.example/x", "ftp://localhost/", "https://u:p@a.example/", "a.example", ""] {
            assert!(endpoint(bad, false).is_none(), "{bad}");
        }
    }
}
