//! Listening: binding before anything else is begun, serving until told to stop.

use std::net::SocketAddr;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::outcome::{Failure, Outcome};

/// A port of our own, and the address it really has.
pub(crate) async fn bind(address: SocketAddr) -> Outcome<(TcpListener, SocketAddr)> {
    let taken = |error| Failure::failed(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    Ok((listener, address))
}

/// Serves in the background; connections that are idle close when `stop` comes, others after their request.
pub(crate) fn serve(listener: TcpListener, router: Router, tasks: &TaskTracker, stop: CancellationToken) {
    let listener = listener.tap_io(|stream| {
        // Without it, small replies wait for the peer's acknowledgement; failing to set it costs only that.
        let _ = stream.set_nodelay(true);
    });
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
            error!(%error, "a listener failed");
        }
    });
}
