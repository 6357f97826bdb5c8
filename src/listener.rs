//! Listening: binding before anything else is begun, serving until told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::outcome::{Failure, Outcome};

const HEAD_PATIENCE: Duration = Duration::from_secs(15);

/// A port of our own, taken before anything else is begun.
#[derive(Debug)]
pub(crate) struct Port(TcpListener, SocketAddr);

impl Port {
    pub(crate) async fn bind(address: SocketAddr) -> Outcome<Self> {
        let taken = |error| Failure::failed(format!("cannot listen on {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Self(listener, address))
    }

    /// The address it really has.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.1
    }
}

/// Serves in the background; connections that are idle close when `stop` comes, others after their request.
pub(crate) fn serve(port: Port, router: Router, tasks: &TaskTracker, stop: CancellationToken) -> Outcome {
    let handle = Handle::new();
    let listener = port.0.into_std().map_err(Failure::failed)?;
    let mut server = axum_server::from_tcp(listener).map_err(Failure::failed)?.handle(handle.clone());
    let mut http1 = server.http_builder().http1();
    // Who does not even finish the head of a request is not waited for.
    http1.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    tasks.spawn(async move {
        stop.cancelled().await;
        handle.graceful_shutdown(None);
    });
    tasks.spawn(async move {
        if let Err(error) = server
            .acceptor(NoDelayAcceptor::new())
            .serve(router.into_make_service_with_connect_info::<SocketAddr>())
            .await
        {
            error!(%error, "a listener failed");
        }
    });
    Ok(())
}
