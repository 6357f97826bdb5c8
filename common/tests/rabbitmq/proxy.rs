//! A way to the broker that can be cut and opened again.

use std::sync::Mutex;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    pub(crate) address: String,
    target: String,
    /// Bound, and never listened to: so the port is ours all the time, yet connections are refused.
    _place: TcpSocket,
    /// The listener and every connection, while there are any: dropping it ends them.
    running: Mutex<Option<JoinSet<()>>>,
}

impl Proxy {
    pub(crate) fn closed(target: &str) -> Self {
        let place = bound("127.0.0.1:0");
        let address = place.local_addr().expect("an address").to_string();
        Self { address, target: target.to_owned(), _place: place, running: Mutex::default() }
    }

    pub(crate) fn open(target: &str) -> Self {
        let proxy = Self::closed(target);
        proxy.reopen();
        proxy
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        *self.running.lock().expect("the gate") = None;
    }

    pub(crate) fn reopen(&self) {
        let listener = bound(&self.address).listen(64).expect("a listener");
        let mut running = JoinSet::new();
        running.spawn(serve(listener, self.target.clone()));
        *self.running.lock().expect("the gate") = Some(running);
    }
}

/// Beside others of ours that are bound there, and nobody else's.
fn bound(address: &str) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("the option");
    socket.set_reuseport(true).expect("the option");
    socket.bind(address.parse().expect("an address")).expect("the port");
    socket
}

async fn serve(listener: TcpListener, target: String) {
    let mut pipes = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let target = target.clone();
        pipes.spawn(async move {
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            // It ends when either side does.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}
