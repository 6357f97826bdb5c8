//! The mail server of tests/clients/mail_server.py, and otpd set up to send by it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;
use tokio::net::TcpSocket;

use super::python;
use crate::harness::PATIENCE;

/// A mail server that is killed when the test ends.
pub(super) struct MailServer {
    child: Child,
    lines: Receiver<String>,
    pub(super) port: u16,
    /// Keeps the port, also while the server is stopped.
    _place: TcpSocket,
}

impl MailServer {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let mut child = python("mail_server.py").args(arguments).stdout(Stdio::piped()).spawn().expect("Python");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let port = lines.recv_timeout(PATIENCE).expect("a port").parse().expect("a port");
        let place = TcpSocket::new_v4().expect("a socket");
        place.set_reuseport(true).expect("the option");
        place.bind(SocketAddr::from(([127, 0, 0, 1], port))).expect("the port");
        Self { child, lines, port, _place: place }
    }

    /// The next message that it has taken.
    pub(super) fn taken(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a message");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Whether it has taken nothing that was not looked at.
    pub(super) fn has_nothing_more(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    pub(super) fn stop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It may have been stopped before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A setting of otpd, as it is in the environment.
pub(super) fn sender(url: &str) -> Vec<(&str, &str)> {
    vec![("SMTP_URL", url), ("SMTP_FROM", "Acme Shop <otp@shop.example>")]
}
