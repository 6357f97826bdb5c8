//! `bench` measures otpd beside baselines that do the same work, in turn: see docs/performance.md. `main` dispatches.

mod alone;
mod baseline;
mod calls;
mod cli;
mod failure;
mod figure;
mod growth;
mod http;
mod journal;
mod load;
mod machine;
mod numbers;
mod program;
mod report;
mod rounds;
mod run;
mod scenarios;
mod servers;
mod settings;
mod stub;
mod system;
mod table;

use std::process::ExitCode;

use clap::Parser;

// As the program has it, so that the baselines are not slower for their allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::progress(&format!("bench: {failure}"));
            ExitCode::FAILURE
        }
    }
}
