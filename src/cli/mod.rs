//! The command line: what can be asked of the program. One file a command.

mod api;
mod config;
mod dev;
mod dispatch;
mod health;
mod key;
mod migrate;
mod openapi;
mod project;
mod providers;
mod serve;
mod session;
mod simulate;
mod worker;

use std::path::PathBuf;

use ::common::clock::Clock;
use ::common::config::{Config, Flags};
use clap::{Args, Parser, Subcommand};

use crate::outcome::{Failure, Outcome};

const AFTER: &str = "Without a command, otpd runs as `otpd dev`: everything in one process, for trying.\n\n\
    Settings: config.default.toml lists them; --config FILE overrides it, the environment (OTPD_SECTION__KEY) \
    overrides the file, flags override both.\n\
    Exit codes: 0 well, 1 failed, 2 wrong usage, 78 wrong configuration.";

/// An event-driven OTP dispatcher: accepts one-time-password requests, delivers the codes by SMS, e-mail or WhatsApp,
/// and verifies them.
#[derive(Debug, Parser)]
#[command(name = "otpd", version, after_help = AFTER, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    dev: dev::Dev,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, with a development project and a sandbox: for trying
    Dev(dev::Dev),
    /// Run everything in one process, for production on one machine (SQLite)
    Serve(serve::Serve),
    /// Run the API (PostgreSQL, RabbitMQ)
    Api(api::ApiCommand),
    /// Run a delivery worker (PostgreSQL, RabbitMQ)
    Worker(worker::WorkerCommand),
    /// Bring the schema in PostgreSQL up to date
    Migrate(migrate::Migrate),
    /// Check or show the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Create, list, show or update projects
    #[command(subcommand)]
    Project(Box<project::ProjectCommand>),
    /// Create, list or revoke API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// List or rotate the keys that sign the tokens of people who have logged in
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// List dispatches that wait or failed, or try one again
    #[command(subcommand)]
    Dispatch(dispatch::DispatchCommand),
    /// Ask the providers how they are, or list them and what would switch more of them on
    #[command(subcommand)]
    Providers(providers::ProvidersCommand),
    /// Ask a running api or worker whether it is alive: exit 0 if so
    Health(health::HealthCommand),
    /// Play the vendors' APIs on one port: for rehearsing failover
    Simulate(simulate::Simulate),
    /// Print the OpenAPI document
    Openapi(openapi::OpenApi),
}

impl Cli {
    pub(crate) async fn run(self) -> Outcome {
        match self.command {
            None => self.dev.run().await,
            Some(Command::Dev(command)) => command.run().await,
            Some(Command::Serve(command)) => command.run().await,
            Some(Command::Api(command)) => command.run().await,
            Some(Command::Worker(command)) => command.run().await,
            Some(Command::Migrate(command)) => command.run().await,
            Some(Command::Config(command)) => command.run(),
            Some(Command::Project(command)) => command.run().await,
            Some(Command::Key(command)) => command.run().await,
            Some(Command::Session(command)) => command.run().await,
            Some(Command::Dispatch(command)) => command.run().await,
            Some(Command::Providers(command)) => command.run().await,
            Some(Command::Health(command)) => command.run().await,
            Some(Command::Simulate(command)) => command.run().await,
            Some(Command::Openapi(command)) => command.run(),
        }
    }
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
struct Common {
    /// A file of settings, in TOML
    #[arg(long, value_name = "FILE", env = "OTPD_CONFIG")]
    config: Option<PathBuf>,
    /// Milliseconds to add to the clock, read at each reading: for tests
    #[arg(long, value_name = "FILE", hide = true)]
    clock_file: Option<PathBuf>,
}

impl Common {
    fn load(&self, flags: &Flags) -> Outcome<Config> {
        Ok(Config::load(self.config.as_deref(), flags)?)
    }

    /// The settings with all that is wrong with them by themselves.
    fn examine(&self) -> (Option<Config>, Vec<String>) {
        Config::examine(self.config.as_deref(), &Flags::new())
    }

    fn clock(&self) -> Outcome<Clock> {
        Clock::with_offset_file(self.clock_file.clone()).map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// Where an administrative command finds the store.
#[derive(Debug, Clone, Args)]
struct Admin {
    #[command(flatten)]
    common: Common,
    /// The data directory of `otpd dev` or `otpd serve`, which may be running; without it, PostgreSQL (store.url)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Admin {
    async fn store(&self) -> Outcome<::common::store::Store> {
        let config = self.common.load(&Flags::new())?;
        crate::assemble::admin_store(&config, self.data.as_ref()).await
    }
}

/// A flag that overrides a setting, if it is there.
fn flag(flags: &mut Flags, section: &'static str, key: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        flags.push((section, key, value.to_owned()));
    }
}
