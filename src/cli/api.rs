//! `otpd api`: takes requests, keeps them in PostgreSQL, publishes jobs to RabbitMQ.

use clap::Args;
use common::config::{Flags, Role};
use tracing::info;
use worker::route::Unrouted;

use super::{Common, flag};
use crate::assemble::Process;
use crate::listener::Port;
use crate::outcome::Outcome;
use crate::{telemetry, upkeep};

/// Run the API (PostgreSQL, RabbitMQ)
#[derive(Debug, Args)]
pub(super) struct ApiCommand {
    #[command(flatten)]
    common: Common,
    /// Where to listen (default: 127.0.0.1:8080)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where to serve health and metrics (default: 127.0.0.1:9090)
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

impl ApiCommand {
    pub(super) async fn run(self) -> Outcome {
        let mut flags = Flags::new();
        flag(&mut flags, "server", "listen", self.listen.as_deref());
        flag(&mut flags, "server", "admin_listen", self.admin_listen.as_deref());
        let config = self.common.load(&flags)?;
        telemetry::start_log(&config.log)?;
        let relay = config.relay.enabled;
        let (public, admin) = (Port::bind(config.server.listen).await?, Port::bind(config.server.admin_listen).await?);
        let process = Process::distributed(config, "otpd api", self.common.clock()?)?;
        let routes = process.routes(Unrouted::Refused)?;
        let api = process.api(&routes, None)?;
        let health = api.health().clone();
        let router = api::router::router(api.clone()).merge(api::router::health(api));
        let admin = process.serve(admin, process.admin_router(&health))?;
        let public = process.serve(public, router)?;
        info!(server.listen = %public, server.admin_listen = %admin, "the api listens");
        if process.wait_for_store().await {
            upkeep::warn_of_closed_doors(&health).await;
            if relay {
                process.start_relay(Role::Distributed);
            }
        }
        process.run().await
    }
}
