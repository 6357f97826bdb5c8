//! The provider: takes every message after a fixed time, and writes down what arrived and when.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::Outcome;
use crate::http::content_length;
use crate::journal::Journal;
use crate::numbers::Numbers;

/// The secret that messages are signed with; it protects nothing.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Listens until it goes, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    pub(crate) numbers: Numbers,
    pub(crate) journal: Arc<Journal>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Taking {
    numbers: Numbers,
    journal: Arc<Journal>,
    latency: Duration,
    /// Gets a permit for each send that arrives.
    gate: Option<Arc<Semaphore>>,
}

impl Stub {
    /// One that remembers sends up to a number.
    pub(crate) fn start(remembered: u64, latency: Duration) -> Outcome<Self> {
        Self::start_gated(remembered, latency, None)
    }

    /// One that lets another send begin for each that arrives.
    pub(crate) fn start_gated(remembered: u64, latency: Duration, gate: Option<Arc<Semaphore>>) -> Outcome<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (numbers, journal, stop) = (Numbers::fresh(), Arc::new(Journal::new(remembered)), CancellationToken::new());
        let taking = Taking { numbers, journal: Arc::clone(&journal), latency, gate };
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    stopped.run_until_cancelled(accept(listener, taking)).await;
                }
            });
        });
        Ok(Self { address, numbers, journal, stop, thread: Some(thread) })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, taking: Taking) {
    let mut connections = JoinSet::new();
    loop {
        // What ends is let go here, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, taking.clone()));
        }
    }
}

async fn serve(mut stream: TcpStream, taking: Taking) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut reply) = (Vec::with_capacity(4096), Vec::with_capacity(256));
    loop {
        let request = loop {
            if let Some(request) = request(&input)? {
                break request;
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        };
        reply.clear();
        if request.is_message {
            taking.take(&input[request.body_at..request.end], &mut reply);
            if !taking.latency.is_zero() {
                tokio::time::sleep(taking.latency).await;
            }
        } else {
            reply.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
        stream.write_all(&reply).await?;
        input.drain(..request.end);
    }
}

struct Request {
    /// A POST; the check of the provider is a HEAD.
    is_message: bool,
    body_at: usize,
    end: usize,
}

/// The first request, once it is there whole.
fn request(input: &[u8]) -> std::io::Result<Option<Request>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(body_at) = request.parse(input).map_err(std::io::Error::other)? else {
        return Ok(None);
    };
    let end = body_at + content_length(request.headers);
    let is_message = request.method == Some("POST");
    Ok((input.len() >= end).then_some(Request { is_message, body_at, end }))
}

impl Taking {
    fn take(&self, body: &[u8], reply: &mut Vec<u8>) {
        let index = text(body, b"\"target\":\"").and_then(|target| self.numbers.index_of(target));
        let code = text(body, b"\"code\":\"").and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let (Some(index), Some(code)) = (index, code) else {
            reply.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            return;
        };
        if self.journal.arrives(index, code)
            && let Some(gate) = &self.gate
        {
            gate.add_permits(1);
        }
        let body = format!("{{\"message_id\":\"m{index}\"}}");
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        reply.extend_from_slice(head.as_bytes());
        reply.extend_from_slice(body.as_bytes());
    }
}

/// The text after a key of the body, up to the next quote. The texts looked for have no escapes.
fn text<'a>(body: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = body.windows(key.len()).position(|window| window == key)? + key.len();
    let rest = &body[at..];
    Some(&rest[..rest.iter().position(|byte| *byte == b'"')?])
}
