//! `otpd health`: whether a running process is alive, for containers that have no other client.

use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::outcome::{Failure, Outcome, say};

const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running api or worker whether it is alive: exit 0 if so
#[derive(Debug, Args)]
pub(super) struct HealthCommand {
    /// What to ask on its admin listener
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9090/healthz")]
    url: String,
}

impl HealthCommand {
    pub(super) async fn run(self) -> Outcome {
        let rest = self.url.strip_prefix("http://");
        let (place, path) = rest
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| Failure::Usage(format!("{} is no URL such as http://127.0.0.1:9090/healthz", self.url)))?;
        let asked = tokio::time::timeout(PATIENCE, ask(place, path)).await;
        let reply = asked.map_err(|_| Failure::failed(format!("{place} does not answer")))?;
        let reply = reply.map_err(|error| Failure::failed(format!("{place}: {error}")))?;
        if !reply.starts_with("HTTP/1.1 200") {
            let line = reply.lines().next().unwrap_or("nothing");
            return Err(Failure::failed(format!("{place} answered {line}")));
        }
        say("alive");
        Ok(())
    }
}

async fn ask(place: &str, path: &str) -> std::io::Result<String> {
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(place).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.take(4096).read_to_string(&mut reply).await?;
    Ok(reply)
}
