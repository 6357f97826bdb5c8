//! A line to a server that tests can cut.

use std::io;

use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::beside::Beside;
use super::process::Environment;

pub(crate) struct Proxy {
    line: watch::Sender<Line>,
    server: Beside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Connections are reset, new ones too. The port stays ours, so that nobody takes it meanwhile.
    Cut,
    /// Connections stay, new ones are taken, and nothing passes.
    Silent,
    /// What the caller says passes, what the server says does not.
    Mute,
}

impl Proxy {
    /// A line to `server`, host and port.
    pub(crate) fn to(server: String) -> Self {
        let (line, state) = watch::channel(Line::Open);
        Self { line, server: Beside::start(move |listener| accept(listener, server, state)) }
    }

    /// Puts itself before the server of a setting that is a URL.
    pub(crate) fn before(environment: &mut Environment, setting: &str) -> Self {
        let mut url = Url::parse(&environment[setting]).expect("a URL");
        let port = url.port().expect("a port");
        let proxy = Self::to(format!("{}:{port}", url.host_str().expect("a host")));
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(proxy.server.address.port())).expect("a port");
        environment.insert(setting.to_owned(), url.to_string());
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn accept(listener: TcpListener, server: String, state: watch::Receiver<Line>) {
    let mut connections = JoinSet::new();
    loop {
        let (caller, _) = listener.accept().await.expect("a connection");
        connections.spawn(carry(caller, server.clone(), state.clone()));
    }
}

/// Carries one connection until either side or the line ends it.
async fn carry(caller: TcpStream, server: String, mut state: watch::Receiver<Line>) -> io::Result<()> {
    caller.set_zero_linger()?;
    if *state.borrow() == Line::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(server).await?;
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (there, back) = (state.clone(), state.clone());
    tokio::select! {
        ended = pump(&caller, &server, there, &[Line::Open, Line::Mute]) => ended,
        ended = pump(&server, &caller, back, &[Line::Open]) => ended,
        _ = state.wait_for(|line| *line == Line::Cut) => Ok(()),
    }
}

async fn pump(from: &TcpStream, to: &TcpStream, mut state: watch::Receiver<Line>, passes: &[Line]) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        from.readable().await?;
        if state.wait_for(|line| passes.contains(line)).await.is_err() {
            return Ok(());
        }
        let length = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
