//! The providers of the settings and of the environment, to be looked at: nothing of the program is started for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use common::clock::Clock;
use common::config::{Config, environment};
use providers::checkup::Examiner;
use providers::inbox::Inbox;
use providers::registry::{self, Configured, Tools};
use providers::sandbox::{self, ReceiptSink};
use providers::{Message, Provider, ReceiptEvent, usual};
use serde_json::Value;
use tokio_util::task::TaskTracker;
use worker::caps::{self, Caps};

/// The settings' providers, and those that the environment's usual names switch on, without their bounds.
pub(crate) fn settings(config: &Config) -> BTreeMap<String, Value> {
    let mut tables = config.providers.clone();
    let _ = caps::take(&mut tables);
    let mut settings = usual::settings(&environment());
    settings.extend(tables);
    settings
}

/// The bounds of each of them.
///
/// # Errors
/// Every bound that is none, and those of a provider that there is not.
pub(crate) fn caps(config: &Config) -> Result<HashMap<String, Caps>, Vec<String>> {
    let bounds = caps::take(&mut config.providers.clone());
    let known = settings(config);
    let unknown = config.providers.keys().filter(|name| *name != sandbox::NAME && !known.contains_key(*name));
    let mut problems: Vec<_> = unknown
        .map(|name| {
            format!("providers.{name}: it has bounds alone, and no variable switches a provider of this name on")
        })
        .collect();
    problems.extend(bounds.as_ref().err().into_iter().flatten().cloned());
    if problems.is_empty() { bounds } else { Err(problems) }
}

/// What an operator should know of variables that nothing reads.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    usual::warnings(&environment(), &config.providers)
}

/// Asks the settings' providers how they are.
pub(crate) fn examiner(config: &Config, clock: Clock) -> Examiner {
    Examiner::new(&settings(config), clock, config.worker.provider_timeout())
}

/// Makes the providers of the settings.
pub(crate) fn providers(config: &Config) -> Result<Vec<Arc<dyn Provider>>, Vec<String>> {
    let built = registry::build(&settings(config), &tools()?);
    both(caps(config), built).map(|(_, providers)| providers)
}

/// Both, or all that is wrong with either.
pub(crate) fn both<A, B>(a: Result<A, Vec<String>>, b: Result<B, Vec<String>>) -> Result<(A, B), Vec<String>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err(a.err().into_iter().chain(b.err()).flatten().collect()),
    }
}

/// The same, each by itself.
pub(crate) fn each(config: &Config) -> Result<Vec<(String, Value, Configured)>, Vec<String>> {
    let tools = tools()?;
    let built = settings(config).into_iter().map(|(name, value)| {
        let built = registry::build_one(&name, &value, &tools);
        (name, value, built)
    });
    Ok(built.collect())
}

fn tools() -> Result<Tools, Vec<String>> {
    Ok(Tools {
        http: providers::http::client().map_err(|error| vec![error.to_string()])?,
        inbox: Arc::new(Nowhere),
        receipts: Arc::new(Nowhere),
        tasks: TaskTracker::new(),
        clock: Clock::default(),
    })
}

/// Keeps nothing and receives nothing.
#[derive(Debug)]
struct Nowhere;

#[async_trait::async_trait]
impl Inbox for Nowhere {
    async fn keep(&self, _: &Message) -> Result<(), String> {
        Err("nothing is kept while settings are looked at".to_owned())
    }
}

impl ReceiptSink for Nowhere {
    fn receive(&self, _: &str, _: ReceiptEvent) {}
}
