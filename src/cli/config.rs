//! `otpd config`: what the settings are, and everything that is wrong with them.

use clap::{Args, Subcommand};
use common::config::{Config, Flags, Role};
use providers::sandbox;

use super::Common;
use crate::assemble::doors;
use crate::configured;
use crate::outcome::{Failure, Outcome, hint, say};

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
                let role = if check.embedded { Role::Embedded } else { Role::Distributed };
                let (config, mut problems) = check.common.examine();
                if let Some(config) = &config {
                    problems.extend(found_in(config, role));
                    configured::warnings(config).into_iter().for_each(hint);
                }
                if problems.is_empty() {
                    say("the settings are sound");
                    return Ok(());
                }
                Err(Failure::Config(problems))
            }
        }
    }
}

/// What is wrong beyond each setting by itself.
fn found_in(config: &Config, role: Role) -> Vec<String> {
    let mut problems = config.missing_for(role);
    problems.extend(doors(config, None).err());
    problems.extend(configured::caps(config).err().into_iter().flatten());
    let each = match configured::each(config) {
        Ok(each) => each,
        Err(found) => return problems.into_iter().chain(found).collect(),
    };
    for (channel, name) in config.routes.names() {
        match each.iter().find(|(known, ..)| known == name && name != sandbox::NAME) {
            None => problems.push(format!("routes.{channel}: there is no provider {name}; see [providers]")),
            Some((.., Ok(provider))) if !provider.channels().contains(&channel) => {
                problems.push(format!("routes.{channel}: {name} does not carry {channel}"));
            }
            Some(_) => {}
        }
    }
    for (name, _, built) in each {
        match built {
            Ok(provider) if provider.has_receipts() && config.server.public_url().is_none() => problems
                .push(format!("server.public_url is missing: providers.{name} sends receipts and must know where to")),
            Ok(_) => {}
            Err(found) => problems.extend(found),
        }
    }
    problems
}
