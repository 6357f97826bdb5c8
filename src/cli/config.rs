//! `otpd config`: what the settings are, and everything that is wrong with them.

use clap::{Args, Subcommand};
use common::config::{Config, Flags, Role};

use super::Common;
use crate::assemble::check_providers;
use crate::outcome::{Failure, Outcome, say};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Report every error in the settings at once: exit 0 when there is none, 78 otherwise
    Check(Check),
    /// Print every setting, secrets masked
    Show(Common),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    common: Common,
    /// Check for `otpd dev` and `otpd serve`, which need neither PostgreSQL nor RabbitMQ
    #[arg(long)]
    embedded: bool,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Outcome {
        match self {
            Self::Show(common) => {
                say(common.load(&Flags::new())?.show());
                Ok(())
            }
            Self::Check(check) => {
                let config = check.common.load(&Flags::new())?;
                let role = if check.embedded { Role::Embedded } else { Role::Distributed };
                let problems = problems(&config, role);
                if problems.is_empty() {
                    say("the settings are sound");
                    return Ok(());
                }
                Err(Failure::Config(problems))
            }
        }
    }
}

fn problems(config: &Config, role: Role) -> Vec<String> {
    let mut problems = config.missing_for(role);
    match check_providers(config) {
        Ok(providers) => {
            let unknown =
                config.routes.names().filter(|(_, name)| !providers.iter().any(|known| known.name() == *name));
            problems.extend(unknown.map(|(channel, name)| format!("routes.{channel}: there is no provider {name}")));
            let silent = providers.iter().filter(|known| known.has_receipts() && config.server.public_url().is_none());
            problems.extend(silent.map(|known| {
                format!(
                    "server.public_url is missing: providers.{} sends receipts and must know where to",
                    known.name()
                )
            }));
        }
        Err(found) => problems.extend(found),
    }
    problems
}
