//! The command line: which scenarios, how large; the hidden subcommands are the baselines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::baseline::Baseline;
use crate::failure::{Failure, Outcome};
use crate::growth::{Bloat, Curves, Load, Plans, Retention};
use crate::report::{print, progress};
use crate::run::Bench;
use crate::scenarios::{self, Scenario};
use crate::settings::Flags;
use crate::table;

/// Measures otpd beside baselines that do the same work, in turn: docs/performance.md has what each figure means
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Scenarios by name (see `bench list`) or figure (S1 … S12), or `all`
    #[arg(value_name = "SCENARIO")]
    names: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the scenarios
    List,
    /// Print the table of a file that --json has written, as Markdown
    Table {
        file: PathBuf,
    },
    Load(Load),
    Plans(Plans),
    Retention(Retention),
    Bloat(Bloat),
    Curves(Curves),
    /// Be a baseline
    #[command(subcommand, hide = true)]
    Baseline(Baseline),
}

impl Cli {
    pub(crate) async fn run(self) -> Outcome {
        match self.command {
            Some(Command::List) => list(),
            Some(Command::Table { file }) => print(&table::of_file(&file)?),
            Some(Command::Load(load)) => load.run().await?,
            Some(Command::Plans(plans)) => plans.run().await?,
            Some(Command::Retention(retention)) => retention.run().await?,
            Some(Command::Bloat(bloat)) => bloat.run().await?,
            Some(Command::Curves(curves)) => curves.run().await?,
            Some(Command::Baseline(baseline)) => baseline.run().await?,
            None => measure(&self.names, &self.flags).await?,
        }
        Ok(())
    }
}

fn list() {
    for Scenario { name, figures, about, .. } in scenarios::every() {
        print(&format!("{name:10} {:32} {about}", figures.join(", ")));
    }
}

async fn measure(names: &[String], flags: &Flags) -> Outcome {
    let names = if names.is_empty() { &["all".to_owned()][..] } else { names };
    let chosen = scenarios::chosen(names)?;
    if let Some(file) = &flags.json {
        // Not found out after twenty minutes.
        std::fs::write(file, "").map_err(|error| format!("--json {}: {error}", file.display()))?;
    }
    let mut bench = Bench::begin(flags).await?;
    let servers = Arc::clone(&bench.servers);
    // Dropping the scenarios ends their processes, so an interrupted run leaves nothing either.
    let outcome = tokio::select! {
        outcome = run_all(&mut bench, &chosen) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::from("interrupted")),
    };
    servers.clean_up().await;
    print(&bench.report.text());
    if let Some(file) = &flags.json {
        std::fs::write(file, format!("{:#}\n", bench.report.json()))?;
    }
    outcome?;
    progress(&format!("bench: {} figures, {} missed", bench.report.figures().len(), bench.report.misses()));
    Ok(())
}

async fn run_all(bench: &mut Bench, chosen: &[Scenario]) -> Outcome {
    let begun = Instant::now();
    for Scenario { name, figures, about, run } in chosen {
        progress(&format!("[{:5.1} s] {name} ({}): {about}", begun.elapsed().as_secs_f64(), figures.join(", ")));
        run(bench).await.map_err(|failure| format!("{name}: {failure}"))?;
        let is_found = |wanted: &&&str| bench.report.figures().iter().any(|figure| figure.name == **wanted);
        if let Some(missing) = figures.iter().find(|wanted| !is_found(wanted)) {
            return Err(format!("{name} has not found {missing}").into());
        }
    }
    progress(&format!("[{:5.1} s] done", begun.elapsed().as_secs_f64()));
    Ok(())
}
