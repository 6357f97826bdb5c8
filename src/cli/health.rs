//! `otpd health`: whether a running process is alive, for containers that have no other client.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::outcome::{Failure, Outcome, say};

const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running api or worker whether it is alive: exit 0 if so
#[derive(Debug, Args)]
pub(super) struct HealthCommand {
    /// The address of its admin listener
    #[arg(default_value = "127.0.0.1:9090")]
    address: SocketAddr,
}

impl HealthCommand {
    pub(super) async fn run(self) -> Outcome {
        let asked = tokio::time::timeout(PATIENCE, ask(self.address)).await;
        let reply = asked.map_err(|_| Failure::failed(format!("{} does not answer", self.address)))?;
        let reply = reply.map_err(|error| Failure::failed(format!("{}: {error}", self.address)))?;
        if !reply.starts_with("HTTP/1.1 200") {
            let line = reply.lines().next().unwrap_or("nothing");
            return Err(Failure::failed(format!("{} answered {line}", self.address)));
        }
        say("alive");
        Ok(())
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut reply = String::new();
    stream.take(4096).read_to_string(&mut reply).await?;
    Ok(reply)
}
