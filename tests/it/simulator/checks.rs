//! The questions by which an adapter checks its account, asked of vendors that are played.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use common::clock::Clock;
use common::config::Config;
use common::otp::provider_error::{Cause, Misconfiguration};
use providers::inbox::Inbox;
use providers::registry::{self, Tools};
use providers::sandbox::ReceiptSink;
use providers::{Message, Provider, ReceiptEvent};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::harness::simulated::Simulated;

#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Inbox for Nowhere {
    async fn keep(&self, _: &Message) -> Result<(), String> {
        Err("nothing is kept here".to_owned())
    }
}

impl ReceiptSink for Nowhere {
    fn receive(&self, _: &str, _: ReceiptEvent) {}
}

/// The adapters of the settings that are printed.
fn adapters(vendors: &Simulated) -> BTreeMap<String, Arc<dyn Provider>> {
    let dir = TempDir::new().expect("a directory");
    let config = Config::load(Some(&vendors.config_in(dir.path())), &Vec::new()).expect("settings");
    let tools = Tools {
        http: providers::http::client().expect("a client"),
        inbox: Arc::new(Nowhere),
        receipts: Arc::new(Nowhere),
        tasks: TaskTracker::new(),
        clock: Clock::default(),
    };
    let built = registry::build(&config.providers, &tools).expect("providers");
    built.into_iter().map(|provider| (provider.name().to_owned(), provider)).collect()
}

#[tokio::test]
async fn every_account_is_all_right_until_it_is_not() {
    let vendors = Simulated::start(&[]);
    let adapters = adapters(&vendors);
    assert_eq!(adapters.len(), 13);
    for (name, adapter) in &adapters {
        let check = adapter.check().await;
        assert_eq!((check.credentials, check.problem), (Some(true), None), "{name}");
    }
    for (name, adapter) in &adapters {
        vendors.order(name, &json!({"answer": "balance"})).await;
        let problem = adapter.check().await.problem.map(|(what, _)| what);
        // The others tell no balance.
        let tells = !matches!(name.as_str(), "mailgun" | "meta" | "playmobile" | "postmark" | "resend");
        assert_eq!(problem, tells.then_some(Misconfiguration::Balance), "{name}");
    }
    for (name, adapter) in &adapters {
        vendors.order(name, &json!({"answer": "401"})).await;
        let check = adapter.check().await;
        let problem = check.problem.map(|(what, _)| what);
        assert_eq!((check.credentials, problem), (Some(false), Some(Misconfiguration::Credentials)), "{name}");
    }
    for name in ["infobip", "mailgun", "playmobile", "postmark", "sendgrid"] {
        vendors.order(name, &json!({"answer": "ip"})).await;
        let problem = adapters[name].check().await.problem.map(|(what, _)| what);
        assert_eq!(problem, Some(Misconfiguration::IpBlocked), "{name}");
    }
    // Whose answer to a check is of another form than that to a message.
    vendors.order("africastalking", &json!({"answer": "unavailable"})).await;
    let trouble = adapters["africastalking"].check().await.trouble.map(|(cause, _)| cause);
    assert_eq!(trouble, Some(Cause::Unavailable));
    for (name, adapter) in &adapters {
        assert_eq!(vendors.count(name, "taken").await, 0, "{name}");
        vendors.order(name, &json!({"answer": "503"})).await;
        assert_eq!(adapter.check().await.credentials, None, "{name}");
    }
}
