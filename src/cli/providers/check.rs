//! `otpd providers check`: asks every provider at the same time, shows what each says and what to do about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use common::config::{Config, Flags};
use common::otp::provider_error::Cause;
use providers::checkup::{Checkup, Examiner, Fault, Verdict};
use providers::registry::kind_of;
use providers::{Provider, usual};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use super::{Settings, channels};
use crate::configured;
use crate::outcome::{Failure, Outcome, hint, say};
use crate::table::aligned;

/// Whoever waits for longer wants to know what for.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
const HEAD: [&str; 9] =
    ["provider", "kind", "channels", "reachable", "credentials", "balance", "sender", "clock", "what to do"];

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    settings: Settings,
    /// Only this provider
    name: Option<String>,
}

/// A provider, and how it is.
struct Asked {
    provider: Arc<dyn Provider>,
    kind: String,
    checkup: Checkup,
}

impl Check {
    pub(super) async fn run(self) -> Outcome {
        let config = self.settings.common.load(&Flags::new())?;
        configured::warnings(&config).into_iter().for_each(hint);
        let providers = self.chosen(&config)?;
        let examiner = configured::examiner(&config, self.settings.common.clock()?);
        let kinds = configured::settings(&config);
        let asked = ask_all(Arc::new(examiner), providers, &kinds).await;
        if self.settings.json {
            say(Value::from(asked.iter().map(Asked::in_json).collect::<Vec<_>>()));
        } else {
            say(in_words(&asked));
        }
        let broken: Vec<_> =
            asked.iter().filter(|asked| asked.is_broken()).map(|asked| asked.provider.name()).collect();
        if broken.is_empty() { Ok(()) } else { Err(Failure::failed(format!("broken: {}", broken.join(", ")))) }
    }

    fn chosen(&self, config: &Config) -> Outcome<Vec<Arc<dyn Provider>>> {
        let Some(name) = &self.name else { return configured::providers(config).map_err(Failure::Config) };
        let mut each = configured::each(config).map_err(Failure::Config)?;
        let Some(at) = each.iter().position(|(known, ..)| known == name) else {
            let known: Vec<_> = each.iter().map(|(known, ..)| known.as_str()).collect();
            return Err(Failure::Usage(unknown(name, &known)));
        };
        // What is wrong with others is no reason not to ask this one.
        Ok(vec![each.swap_remove(at).2.map_err(Failure::Config)?])
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let there_are =
        if known.is_empty() { "none is set up".to_owned() } else { format!("there are {}", known.join(", ")) };
    let kind = usual::kinds(&common::config::environment()).into_iter().find(|usual| usual.kind == name);
    let advice = kind.map(|usual| format!("; to switch it on, set {}", usual::alternatives(&usual.missing)));
    format!("there is no provider {name}: {there_are}{}", advice.unwrap_or_default())
}

/// Asks all at once; in the order in which they came.
async fn ask_all(
    examiner: Arc<Examiner>,
    providers: Vec<Arc<dyn Provider>>,
    settings: &BTreeMap<String, Value>,
) -> Vec<Asked> {
    let mut asking = JoinSet::new();
    for (n, provider) in providers.iter().cloned().enumerate() {
        let examiner = Arc::clone(&examiner);
        asking.spawn(async move { (n, examiner.ask(&*provider).await) });
    }
    let mut checkups: BTreeMap<usize, Checkup> = BTreeMap::new();
    let mut progress = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
    loop {
        tokio::select! {
            ended = asking.join_next() => match ended {
                Some(Ok((n, checkup))) => drop(checkups.insert(n, checkup)),
                // A check that panicked has found nothing out.
                Some(Err(_)) => {}
                None => break,
            },
            _ = progress.tick() => hint(waiting_for(&providers, &checkups)),
        }
    }
    let asked = providers.into_iter().enumerate().map(|(n, provider)| {
        let name = provider.name();
        let kind = settings.get(name).map_or(name, |value| kind_of(name, value)).to_owned();
        Asked { provider, kind, checkup: checkups.remove(&n).unwrap_or_else(failed) }
    });
    asked.collect()
}

fn failed() -> Checkup {
    let trouble = Some((Cause::Ambiguous, "the check itself failed".to_owned()));
    Checkup { check: providers::Check { trouble, ..providers::Check::default() }, ..Checkup::default() }
}

fn waiting_for(providers: &[Arc<dyn Provider>], answered: &BTreeMap<usize, Checkup>) -> String {
    let silent = providers.iter().enumerate().filter(|(n, _)| !answered.contains_key(n));
    let silent: Vec<_> = silent.map(|(_, provider)| provider.name()).collect();
    format!("{} of {} have answered; waiting for {}", answered.len(), providers.len(), silent.join(", "))
}

impl Asked {
    fn is_broken(&self) -> bool {
        matches!(self.checkup.verdict(), Verdict::Broken(_))
    }

    fn in_json(&self) -> Value {
        let (Checkup { check, clock_skew_s, took }, verdict) = (&self.checkup, self.checkup.verdict());
        json!({
            "provider": self.provider.name(),
            "kind": self.kind,
            "channels": self.provider.channels(),
            "status": verdict.as_str(),
            "reachable": check.reachable,
            "credentials": check.credentials,
            "balance": check.balance,
            "balance_amount": check.amount(),
            "sender": check.sender,
            "clock_skew_s": clock_skew_s,
            "cause": verdict.fault().map(Fault::as_str),
            "advice": verdict.fault().map(Fault::advice),
            "detail": self.checkup.detail(),
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn row(&self) -> [String; 9] {
        let Checkup { check, clock_skew_s, .. } = &self.checkup;
        let advice = self.checkup.verdict().fault().map(Fault::advice);
        [
            self.provider.name().to_owned(),
            self.kind.clone(),
            channels(self.provider.channels()),
            known(check.reachable),
            known(check.credentials),
            check.balance.clone().unwrap_or_else(dash),
            check.sender.clone().unwrap_or_else(dash),
            clock_skew_s.map_or_else(dash, |skew| format!("{skew:+} s")),
            advice.map_or_else(|| "nothing".to_owned(), std::borrow::Cow::into_owned),
        ]
    }
}

fn known(answer: Option<bool>) -> String {
    answer.map_or_else(dash, |yes| if yes { "yes" } else { "no" }.to_owned())
}

fn dash() -> String {
    "-".to_owned()
}

/// The table, and below it what vendors said that something is wrong with.
fn in_words(asked: &[Asked]) -> String {
    if asked.is_empty() {
        return "no provider is set up: `otpd providers list` says what would switch one on".to_owned();
    }
    let table = aligned(HEAD, &asked.iter().map(Asked::row).collect::<Vec<_>>());
    let said =
        asked.iter().filter_map(|asked| Some(format!("\n{}: {}", asked.provider.name(), asked.checkup.detail()?)));
    let said: String = said.collect();
    if said.is_empty() { table } else { format!("{table}\n{said}") }
}
