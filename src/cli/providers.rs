//! `otpd providers`: which there are, how they are, and the table of all kinds for the documentation.

mod check;
mod list;
mod table;

use clap::{Args, Subcommand};

use super::Common;
use crate::outcome::Outcome;

#[derive(Debug, Subcommand)]
pub(super) enum ProvidersCommand {
    /// Ask each provider whether it would take messages, sending none: exit 1 if any would not
    Check(check::Check),
    /// List which providers are on and from where, what is half set up, and what would switch the others on
    List(list::List),
    /// Print the table of all kinds, in Markdown
    #[command(hide = true)]
    Table(table::Table),
}

/// What these commands take: they look at settings alone, not at the store.
#[derive(Debug, Clone, Args)]
struct Settings {
    #[command(flatten)]
    common: Common,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ProvidersCommand {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Check(command) => command.run().await,
            Self::List(command) => command.run(),
            Self::Table(command) => command.run(),
        }
    }
}

/// Channels as words.
fn channels(channels: &[common::otp::channel::Channel]) -> String {
    channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(",")
}
