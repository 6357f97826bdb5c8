//! `otpd serve`: the embedded program for production on one machine. No development project, no sandbox for live sends.

use std::path::PathBuf;

use clap::Args;
use common::config::{Flags, Role};
use tracing::info;
use worker::route::Unrouted;

use super::{Common, flag};
use crate::assemble::Process;
use crate::data_dir::DataDir;
use crate::listener::Port;
use crate::outcome::Outcome;
use crate::{telemetry, upkeep};

/// Run everything in one process, for production on one machine (SQLite)
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    common: Common,
    /// Where data is kept; the root key too, unless keys.root is set
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to listen (default: 127.0.0.1:8080)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where to serve health and metrics (default: 127.0.0.1:9090)
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

impl Serve {
    pub(super) async fn run(self) -> Outcome {
        let mut flags = Flags::new();
        flag(&mut flags, "server", "listen", self.listen.as_deref());
        flag(&mut flags, "server", "admin_listen", self.admin_listen.as_deref());
        let config = self.common.load(&flags)?;
        telemetry::start_log(&config.log)?;
        let (public, admin) = (Port::bind(config.server.listen).await?, Port::bind(config.server.admin_listen).await?);
        let process = Process::embedded(config, &DataDir::create(&self.data)?, self.common.clock()?).await?;
        let routes = process.routes(Unrouted::Refused)?;
        let api = process.api(&routes, None)?;
        let health = api.health().clone();
        let router = api::router::router(api.clone()).merge(api::router::health(api));
        let admin = process.serve(admin, process.admin_router(&health))?;
        let public = process.serve(public, router)?;
        process.start_worker(routes)?;
        process.start_relay(Role::Embedded);
        info!(server.listen = %public, server.admin_listen = %admin, "otpd serves");
        upkeep::warn_of_closed_doors(&health).await;
        process.run().await
    }
}
