//! The baselines: the same work in the best form without batches, and the limits of what all of it stands on. They run as
//! processes of their own and share nothing with otpd but the shape of its requests.

mod confirms;
mod echo;
mod naive_api;
mod naive_worker;
mod queue;
mod secrets;
mod serve;
mod store;
mod unnest;

use clap::{Args, Subcommand};

use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Baseline {
    /// Makes the tables and projects of the naive system and prints the projects
    NaiveSetup(Setup),
    NaiveApi(Naive),
    NaiveWorker(Naive),
    /// Parses JSON and answers JSON
    Echo,
    /// Inserts rows in batches and does nothing else
    Unnest(Limit),
    /// Publishes with confirms and does nothing else
    Confirms(Limit),
}

#[derive(Debug, Args)]
pub(crate) struct Setup {
    #[arg(long)]
    store: String,
    #[arg(long)]
    projects: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Naive {
    #[arg(long)]
    store: String,
    #[arg(long)]
    queue: String,
    #[arg(long)]
    prefix: String,
    #[arg(long)]
    provider: String,
}

#[derive(Debug, Args)]
pub(crate) struct Limit {
    #[arg(long, default_value = "")]
    store: String,
    #[arg(long, default_value = "")]
    queue: String,
    #[arg(long)]
    name: String,
    #[arg(long)]
    seconds: f64,
}

impl Baseline {
    pub(crate) async fn run(self) -> Outcome {
        match self {
            Self::NaiveSetup(setup) => store::set_up(&setup.store, setup.projects).await,
            Self::NaiveApi(naive) => naive_api::run(&naive).await,
            Self::NaiveWorker(naive) => naive_worker::run(&naive).await,
            Self::Echo => echo::run().await,
            Self::Unnest(limit) => unnest::run(&limit).await,
            Self::Confirms(limit) => confirms::run(&limit).await,
        }
    }
}
