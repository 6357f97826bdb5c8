//! `otpd simulate`: plays vendors on one port, for rehearsing what happens when they fail.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use common::config::Flags;
use serde_json::json;
use simulator::{Parts, Refused, Simulator};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::Common;
use crate::listener::{self, Port};
use crate::outcome::{Failure, Outcome, hint, say};
use crate::{shutdown, telemetry};

const AFTER: &str = "Each order is for one vendor, or for all without VENDOR=, and may be given again; later ones \
    win. While it runs, POST /_simulate/VENDOR takes the same as JSON, and GET /_simulate counts. docs/simulator.md \
    has the magic targets.";

/// What is said to who listens where others can reach it.
const ELSEWHERE: &str = "otpd speaks plain HTTP to its own machine alone: from another one, put a proxy with TLS before \
    this port and its https:// address into base_url, or forward the port to that machine's loopback";

/// Play the vendors' APIs on one port, and print the settings that point otpd there: for rehearsing failover
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Simulate {
    #[command(flatten)]
    common: Common,
    /// The vendors to play, by the names of their kinds (default: all)
    #[arg(value_name = "VENDOR")]
    vendors: Vec<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8085")]
    listen: SocketAddr,
    /// The address of otpd: its public_url, to which receipts go
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    receipts_to: String,
    /// What is answered: ok, a cause such as balance, timeout, mute, or a status such as 401 or 503
    #[arg(long, value_name = "[VENDOR=]ANSWER")]
    answer: Vec<String>,
    /// How long every answer takes, such as 200ms
    #[arg(long, value_name = "[VENDOR=]TIME")]
    latency: Vec<String>,
    /// How many messages of a hundred are refused as by a vendor in trouble, such as 10%
    #[arg(long, value_name = "[VENDOR=]PERCENT")]
    errors: Vec<String>,
    /// What becomes of messages: delivered, failed, late, lost (no receipt but the first), none (no receipts)
    #[arg(long, value_name = "[VENDOR=]FATE")]
    receipts: Vec<String>,
    /// Print one line of JSON instead of the settings as TOML: url, config
    #[arg(long)]
    json: bool,
    /// Listen on an address that others can reach, although whoever can read messages there can log in as anybody
    #[arg(long)]
    i_know: bool,
}

impl Simulate {
    pub(super) async fn run(self) -> Outcome {
        telemetry::start_log(&self.common.load(&Flags::new())?.log)?;
        if !self.listen.ip().is_loopback() && !self.i_know {
            let problem = format!("{} can be reached by others, who could read messages: say --i-know", self.listen);
            return Err(Failure::Usage(problem));
        }
        let port = Port::bind(self.listen).await?;
        let url = format!("http://{}", reached_at(port.address()));
        if !port.address().ip().is_loopback() {
            hint(ELSEWHERE);
        }
        let (tasks, background, stop) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        shutdown::on_signal(stop.clone(), &background).map_err(Failure::failed)?;
        let parts = Parts {
            url: url.clone(),
            receipts_to: self.receipts_to.clone(),
            clock: self.common.clock()?,
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let simulator = Simulator::new(parts, &self.vendors).map_err(usage)?;
        self.order(&simulator)?;
        listener::serve(port, simulator.router(), &tasks, stop.clone())?;
        if self.json {
            say(json!({"url": url, "config": simulator.config()}));
        } else {
            say(simulator.config());
        }
        info!(server.listen = url, "vendors are played");
        stop.cancelled().await;
        tasks.close();
        tasks.wait().await;
        Ok(())
    }

    fn order(&self, simulator: &Simulator) -> Outcome {
        let orders = [
            ("answer", &self.answer),
            ("latency", &self.latency),
            ("errors", &self.errors),
            ("receipts", &self.receipts),
        ];
        for (what, given) in orders {
            for order in given {
                let (vendor, value) =
                    order.split_once('=').map_or((None, order.as_str()), |(vendor, value)| (Some(vendor), value));
                simulator.order(vendor, what, value).map_err(usage)?;
            }
        }
        Ok(())
    }
}

/// Where otpd reaches it from the same machine: it takes plain HTTP there alone.
fn reached_at(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn usage(refused: Refused) -> Failure {
    Failure::Usage(refused.to_string())
}
