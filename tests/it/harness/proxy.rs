//! A line to a server that tests can cut.

use std::io;

use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::beside::Beside;
use super::distributed::ACQUIRE_TIMEOUT;
use super::process::Environment;

pub(crate) struct Proxy {
    state: watch::Sender<State>,
    server: Beside,
}

#[derive(Debug, Clone, Copy)]
struct State {
    line: Line,
    /// How often the connections of the time were lost.
    losses: u32,
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
        let (sender, state) = watch::channel(State { line: Line::Open, losses: 0 });
        Self { state: sender, server: Beside::start(move |listener| accept(listener, server, state)) }
    }

    /// Puts itself before the server of a setting that is a URL. A store that goes away is given up as soon as by default.
    pub(crate) fn before(environment: &mut Environment, setting: &str) -> Self {
        let mut url = Url::parse(&environment[setting]).expect("a URL");
        let port = url.port().expect("a port");
        let proxy = Self::to(format!("{}:{port}", url.host_str().expect("a host")));
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(proxy.server.address.port())).expect("a port");
        environment.insert(setting.to_owned(), url.to_string());
        if setting == "OTPD_STORE__URL" {
            environment.remove(ACQUIRE_TIMEOUT);
        }
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub(crate) fn set(&self, line: Line) {
        self.state.send_modify(|state| state.line = line);
    }

    /// As when a machine is gone and another has taken its place: nothing ever passes again on the connections that
    /// are there, and nobody says so. New ones are good.
    pub(crate) fn lose_connections(&self) {
        self.state.send_modify(|state| state.losses += 1);
    }
}

async fn accept(listener: TcpListener, server: String, state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (caller, _) = listener.accept().await.expect("a connection");
        connections.spawn(carry(caller, server.clone(), state.clone()));
    }
}

/// Carries one connection until either side or the line ends it.
async fn carry(caller: TcpStream, server: String, mut state: watch::Receiver<State>) -> io::Result<()> {
    caller.set_zero_linger()?;
    let State { line, losses } = *state.borrow();
    if line == Line::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(server).await?;
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let there = |state: &State| matches!(state.line, Line::Open | Line::Mute) && state.losses == losses;
    let back = |state: &State| state.line == Line::Open && state.losses == losses;
    tokio::select! {
        ended = pump(&caller, &server, state.clone(), there) => ended,
        ended = pump(&server, &caller, state.clone(), back) => ended,
        _ = state.wait_for(|state| state.line == Line::Cut) => Ok(()),
    }
}

async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    mut state: watch::Receiver<State>,
    passes: impl Fn(&State) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        from.readable().await?;
        if state.wait_for(&passes).await.is_err() {
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
