//! What the simulator remembers while it runs: how each vendor behaves, what it was asked, and its last messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::config::{PUBLIC_URL_ADVICE, is_public_url};
use reqwest::Client;
use serde_json::{Value, json};

use crate::Parts;
use crate::behaviour::Behaviour;
use crate::magic::Counted;
use crate::vendors::{Message, Vendor};

/// Messages of a vendor that are remembered.
const MOST_MESSAGES: usize = 1000;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) http: Client,
    vendors: BTreeMap<&'static str, Played>,
    pub(crate) counted: Mutex<Counted>,
}

/// One vendor and what is known of it.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) vendor: Box<dyn Vendor>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    counts: BTreeMap<Count, u64>,
    messages: VecDeque<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Count {
    Requests,
    /// Messages taken.
    Taken,
    /// Requests refused, for whatever reason.
    Refused,
    /// Receipts that otpd took, and those that it did not.
    ReceiptsTaken,
    ReceiptsRefused,
}

const COUNTS: [(Count, &str); 5] = [
    (Count::Requests, "requests"),
    (Count::Taken, "taken"),
    (Count::Refused, "refused"),
    (Count::ReceiptsTaken, "receiptsTaken"),
    (Count::ReceiptsRefused, "receiptsRefused"),
];

/// An order that was not carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    NoSuchVendor(String),
    Meaningless(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchVendor(words) | Self::Meaningless(words) => f.write_str(words),
        }
    }
}

impl Shared {
    pub(crate) fn new(parts: Parts, vendors: Vec<Box<dyn Vendor>>) -> Result<Self, Refused> {
        if !is_public_url(&parts.receipts_to) {
            return Err(Refused::Meaningless(format!("the address of otpd {PUBLIC_URL_ADVICE}")));
        }
        // Receipts stay on this machine or go where the operator said: no proxy is asked.
        let http = Client::builder().no_proxy().timeout(std::time::Duration::from_secs(15)).build();
        let http = http.map_err(|error| Refused::Meaningless(error.to_string()))?;
        let played = vendors.into_iter().map(|vendor| (vendor.name(), Played { vendor, state: Mutex::default() }));
        Ok(Self { parts, http, vendors: played.collect(), counted: Mutex::default() })
    }

    pub(crate) fn vendors(&self) -> impl Iterator<Item = &Played> {
        self.vendors.values()
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Played, Refused> {
        self.vendors.get(name).ok_or_else(|| {
            let names: Vec<_> = self.vendors.keys().copied().collect();
            Refused::NoSuchVendor(format!("no vendor {name} is played here: there are {}", names.join(", ")))
        })
    }

    /// Changes how one vendor behaves, or all; all of the orders or none.
    pub(crate) fn order(&self, vendor: Option<&str>, orders: &[(&str, &str)]) -> Result<(), Refused> {
        let ordered: Vec<_> = match vendor {
            Some(name) => vec![self.find(name)?],
            None => self.vendors().collect(),
        };
        for played in ordered {
            let mut behaviour = played.behaviour();
            for (what, value) in orders {
                behaviour.order(what, value).map_err(Refused::Meaningless)?;
            }
            played.lock().behaviour = behaviour;
        }
        Ok(())
    }
}

impl Played {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn behaviour(&self) -> Behaviour {
        self.lock().behaviour
    }

    pub(crate) fn count(&self, what: Count) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    pub(crate) fn keep(&self, message: &Message) {
        let mut state = self.lock();
        if state.messages.len() >= MOST_MESSAGES {
            state.messages.pop_back();
        }
        state.messages.push_front(message.clone());
    }

    /// How it behaves, and what it has been asked so far.
    pub(crate) fn shown(&self) -> Value {
        let state = self.lock();
        let Behaviour { answer, latency, errors, receipts } = state.behaviour;
        let mut shown = json!({
            "answer": answer.to_string(),
            "latency": format!("{}ms", latency.as_millis()),
            "errors": format!("{errors}%"),
            "receipts": receipts.to_string(),
        });
        for (count, name) in COUNTS {
            shown[name] = state.counts.get(&count).copied().unwrap_or_default().into();
        }
        shown
    }

    /// The messages that it took, newest first.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let shown = |message: &Message| {
            json!({"id": message.id, "channel": message.channel, "from": message.from, "to": message.to,
                   "text": message.text, "at": message.at.rfc3339()})
        };
        self.lock().messages.iter().map(shown).collect()
    }
}
