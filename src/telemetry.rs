//! Logs to stderr and the recorder of metrics.

use std::time::Duration;

use common::config::{Log, LogFormat};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

use crate::outcome::{Failure, Outcome};

const LATENCIES: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
const SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Histograms grow until they are looked at; this looks.
const UPKEEP: Duration = Duration::from_secs(5);

/// The broker's driver logs every lost connection at length; the queue says the same in one line.
const QUIETER: &str = "lapin=off";
/// The parser of phone numbers logs, at its finest levels, the numbers that it parses: those levels stay off.
const DISCREET: &str = "rlibphonenumber=warn";

/// Starts logging. Once a process.
pub(crate) fn start_log(log: &Log) -> Outcome {
    // What comes last wins.
    let filter = EnvFilter::try_new(format!("{QUIETER},{},{DISCREET}", log.level));
    let filter = filter.map_err(|error| Failure::Config(vec![format!("log.level: {error}")]))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Plain => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(Failure::failed)
}

/// Installs the recorder and describes every metric.
pub(crate) fn start_metrics(tasks: &TaskTracker, stop: &CancellationToken) -> Outcome<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCIES)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full("otpd_batch_size".to_owned()), &SIZES))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(Failure::failed)?;
    api::describe();
    worker::describe();
    common::queue::meters::describe();
    let (upkeep, stop) = (handle.clone(), stop.clone());
    tasks.spawn(async move {
        while tokio::time::timeout(UPKEEP, stop.cancelled()).await.is_err() {
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
