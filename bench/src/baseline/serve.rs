//! Listening, and telling where, as the program does.

use std::net::SocketAddr;

use axum::Router;
use axum::serve::ListenerExt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Outcome;
use crate::report::print;

/// Serves on a free port until it is told to end.
pub(super) async fn serve(router: Router) -> Outcome {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    print(&json!({ "server.listen": listener.local_addr()?.to_string() }).to_string());
    let listener = listener.tap_io(|stream| {
        // Without it replies wait for acknowledgements.
        let _ = stream.set_nodelay(true);
    });
    tokio::select! {
        served = async { axum::serve(listener, router).await } => Ok(served?),
        ended = ended() => ended,
    }
}

/// Until SIGTERM.
pub(super) async fn ended() -> Outcome {
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}
