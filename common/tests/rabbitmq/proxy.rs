//! A way to the broker that can be cut and opened again.

use std::sync::{Mutex, MutexGuard};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    pub(crate) address: String,
    target: String,
    gate: Mutex<Gate>,
}

enum Gate {
    /// The port is ours, yet connections are refused.
    Closed(Option<TcpSocket>),
    Open {
        /// Dropping it ends the listener and every connection.
        _running: JoinSet<()>,
    },
}

impl Proxy {
    pub(crate) fn closed(target: &str) -> Self {
        let socket = reserve("127.0.0.1:0");
        let address = socket.local_addr().expect("an address").to_string();
        Self { address, target: target.to_owned(), gate: Mutex::new(Gate::Closed(Some(socket))) }
    }

    pub(crate) fn open(target: &str) -> Self {
        let proxy = Self::closed(target);
        proxy.reopen();
        proxy
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        *self.gate() = Gate::Closed(None);
    }

    pub(crate) fn reopen(&self) {
        let mut gate = self.gate();
        let Gate::Closed(socket) = &mut *gate else { return };
        let socket = socket.take().unwrap_or_else(|| reserve(&self.address));
        let listener = socket.listen(64).expect("a listener");
        let mut running = JoinSet::new();
        running.spawn(serve(listener, self.target.clone()));
        *gate = Gate::Open { _running: running };
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().expect("the gate")
    }
}

fn reserve(address: &str) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("the option");
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
