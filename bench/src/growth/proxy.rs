//! Between the program and PostgreSQL: passes everything on, and keeps the plans that `auto_explain` sends as notices.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::failure::Outcome;

/// Plans in the order in which they came.
pub(super) type Plans = Arc<Mutex<Vec<Value>>>;

/// Listens until it goes.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    plans: Plans,
    /// Aborts what it holds when it goes.
    _listening: JoinSet<()>,
}

impl Proxy {
    /// One in front of a server, given as `host:port`.
    pub(super) async fn start(server: String) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, plans) = (listener.local_addr()?, Plans::default());
        let (kept, mut listening) = (Arc::clone(&plans), JoinSet::new());
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, server.clone(), Arc::clone(&kept)));
            }
        });
        Ok(Self { address, plans, _listening: listening })
    }

    /// What has come since it was asked last.
    pub(super) fn plans(&self) -> Vec<Value> {
        self.plans.lock().map(|mut plans| std::mem::take(&mut *plans)).unwrap_or_default()
    }
}

async fn pass(client: TcpStream, server: String, plans: Plans) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async { copy(&mut from_client, &mut to_server).await.map(drop) };
    let down = async {
        let (mut read, mut part) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let length = from_server.read(&mut part).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&part[..length]).await?;
            read.extend_from_slice(&part[..length]);
            take_messages(&mut read, &plans);
        }
    };
    tokio::select! { ended = up => ended, ended = down => ended }
}

/// Takes whole messages off: a letter, a length that counts itself, a body.
fn take_messages(read: &mut Vec<u8>, plans: &Plans) {
    let mut at = 0;
    while let Some(&[kind, a, b, c, d]) = read.get(at..at + 5) {
        let end = at + 1 + usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX / 2);
        let Some(body) = read.get(at + 5..end) else { break };
        if let Some(plan) = (kind == b'N').then(|| plan(body)).flatten()
            && let Ok(mut plans) = plans.lock()
        {
            plans.push(plan);
        }
        at = end;
    }
    read.drain(..at);
}

/// The plan in a notice, whose fields each are a letter and a text.
fn plan(notice: &[u8]) -> Option<Value> {
    let message = notice.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"M"))?;
    let text = std::str::from_utf8(message).ok()?;
    serde_json::from_str(text.split_once("plan:")?.1.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_found_in_a_notice_that_comes_in_parts() {
        let body = b"SNOTICE\0C00000\0Mduration: 0.1 ms  plan:\n{\"Query Text\":\"select 1\"}\0\0";
        let mut message = vec![b'N'];
        message.extend_from_slice(&u32::try_from(body.len() + 4).expect("short").to_be_bytes());
        message.extend_from_slice(body);
        let (plans, mut read) = (Plans::default(), b"Z\0\0\0\x05I".to_vec());
        read.extend_from_slice(&message[..20]);
        take_messages(&mut read, &plans);
        assert_eq!(plans.lock().expect("plans").len(), 0);
        read.extend_from_slice(&message[20..]);
        take_messages(&mut read, &plans);
        assert_eq!(plans.lock().expect("plans")[0]["Query Text"], "select 1");
        assert!(read.is_empty());
    }
}
