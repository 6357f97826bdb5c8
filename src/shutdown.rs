//! Stopping: the first signal asks everyone to finish, the second one ends the program.

use std::process::exit;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// The exit code of a program that was told twice: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Cancels `stop` at the first SIGTERM or SIGINT and exits at the second.
pub(crate) fn on_signal(stop: CancellationToken, tasks: &TaskTracker) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: what has begun is finished first; a second signal ends at once");
        stop.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        exit(INTERRUPTED);
    });
    Ok(())
}

/// Waits for `tasks`, no longer than `grace`.
pub(crate) async fn drain(tasks: &TaskTracker, grace: Duration) {
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
        warn!(unfinished = tasks.len(), "the grace period is over; what is unfinished comes again after its lease");
    }
    info!("stopped");
}
