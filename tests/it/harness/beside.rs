//! Servers of the tests' own, each on a thread of its own: a test that blocks does not hold them up.

use std::future::Future;
use std::net::SocketAddr;
use std::thread;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Runs while this lives.
pub(crate) struct Beside {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
}

impl Beside {
    /// Listens on a free port and serves what comes there.
    pub(crate) fn start<F: Future>(serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                stopped.run_until_cancelled(serve(listener)).await;
            });
        });
        Self { address, stop }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
