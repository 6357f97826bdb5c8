//! The program `otpd`: one binary, a role per subcommand. `main` dispatches and does nothing itself.

mod admin;
mod assemble;
mod cli;
mod configured;
mod data_dir;
mod listener;
mod outcome;
mod shutdown;
mod table;
mod telemetry;
mod upkeep;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
