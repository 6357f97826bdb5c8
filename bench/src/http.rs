//! The smallest HTTP/1.1 client that keeps its connection: the load shares the cores with what it measures.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection with one request in flight. Nothing is pipelined.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

/// A reply, read whole.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// A message's head as far as it matters here.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) body: Range<usize>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::with_capacity(2048) })
    }

    /// Sends a request that is written out, and reads the reply to it.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        self.stream.write_all(request).await?;
        self.input.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            if let Some(head) = response_head(&self.input)? {
                break head;
            }
        };
        while self.input.len() < head.body.end {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
        Ok(Reply { status: head.status, body: &self.input[head.body] })
    }
}

/// Status and place of the body, once the head is there. Servers that are measured say how long their replies are.
fn response_head(input: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(input).map_err(io::Error::other)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(end) => {
            let status = response.code.unwrap_or_default();
            Ok(Some(Head { status, body: end..end + content_length(response.headers) }))
        }
    }
}

pub(crate) fn content_length(headers: &[httparse::Header<'_>]) -> usize {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    header.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0)
}
