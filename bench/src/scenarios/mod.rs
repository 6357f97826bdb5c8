//! The scenarios by name, and which figures each of them finds.

mod accept;
mod burst;
mod drain;
mod embedded;
pub(crate) mod growth;
mod memory;
mod queries;
pub(crate) mod scaling;
mod soak;
mod startup;
mod steady;
mod sustained;
mod verify;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::calls::{Project, Sends};
use crate::failure::Outcome;
use crate::numbers::Numbers;
use crate::run::Bench;

/// What a scenario does while it runs.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The figures that a run of it must find.
    pub(crate) figures: &'static [&'static str],
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Bench) -> Run<'a>,
}

/// Every scenario, in the order of `all`.
pub(crate) const ALL: [Scenario; 12] = [
    Scenario {
        name: "accept",
        figures: &["S1", "S1.echo", "S1.rows", "S1.unnest", "S1.confirms"],
        about: "sends accepted a second, to the naive baseline, an echo and the servers' own limits",
        run: |bench| Box::pin(accept::run(bench)),
    },
    Scenario {
        name: "sustained",
        figures: &["S2", "S2.queue"],
        about: "accept, deliver and write back at once, and whether the queue grows",
        run: |bench| Box::pin(sustained::run(bench)),
    },
    Scenario {
        name: "drain",
        figures: &["S3"],
        about: "a worker and a full queue",
        run: |bench| Box::pin(drain::run(bench)),
    },
    Scenario {
        name: "verify",
        figures: &["S4"],
        about: "codes verified a second",
        run: |bench| Box::pin(verify::run(bench)),
    },
    Scenario {
        name: "embedded",
        figures: &["S5"],
        about: "sends accepted a second by one process with SQLite, to API and PostgreSQL",
        run: |bench| Box::pin(embedded::run(bench)),
    },
    Scenario {
        name: "steady",
        figures: &["S6", "S6.provider"],
        about: "latencies at 500 sends a second",
        run: |bench| Box::pin(steady::run(bench)),
    },
    Scenario {
        name: "burst",
        figures: &["S7", "S7.naive"],
        about: "how long until a burst is wholly handed over",
        run: |bench| Box::pin(burst::run(bench)),
    },
    Scenario {
        name: "queries",
        figures: &["S11", "S11.stats"],
        about: "looking back with many rows in the tables: the first page of records, and statistics",
        run: |bench| Box::pin(queries::run(bench)),
    },
    // Leaves sends that nobody delivers in the loaded database: every list walks past them from then on.
    Scenario {
        name: "growth",
        figures: &["S8", "S8.verify"],
        about: "accept and verify with many rows in the tables, to empty ones",
        run: |bench| Box::pin(growth::run(bench)),
    },
    Scenario {
        name: "memory",
        figures: &["S9", "S9.worker", "S9.embedded"],
        about: "resident memory under the burst",
        run: |bench| Box::pin(memory::run(bench)),
    },
    Scenario {
        name: "startup",
        figures: &["S10"],
        about: "from the start to the first accepted send, on existing data",
        run: |bench| Box::pin(startup::run(bench)),
    },
    Scenario {
        name: "scaling",
        figures: &["S12", "S12.four"],
        about: "1, 2 and 4 workers on a slow provider",
        run: |bench| Box::pin(scaling::run(bench)),
    },
];

/// Those that take too long for `all`: they are asked for by name.
pub(crate) const LONG: [Scenario; 1] = [Scenario {
    name: "soak",
    figures: &["soak", "soak.worker"],
    about: "memory after half an hour at half of what it can do (--minutes)",
    run: |bench| Box::pin(soak::run(bench)),
}];

pub(crate) fn every() -> impl Iterator<Item = Scenario> {
    ALL.into_iter().chain(LONG)
}

/// The scenarios that were asked for; an unknown name is told with those that there are.
pub(crate) fn chosen(names: &[String]) -> Outcome<Vec<Scenario>> {
    let mut chosen = Vec::new();
    for name in names {
        if name == "all" {
            chosen.extend(ALL);
            continue;
        }
        let found = every().find(|scenario| scenario.name == name || scenario.figures[0] == name);
        let all = || every().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        chosen.push(found.ok_or_else(|| format!("there is no scenario {name}; there are: all, {}", all()))?);
    }
    Ok(chosen)
}

/// Sends to something that knows no projects.
fn plain_sends() -> Arc<Sends> {
    let nobody = Project { id: "PRJ_none".to_owned(), key: "none".to_owned() };
    Arc::new(Sends::new(&[nobody], Numbers::fresh(), None))
}
