//! What a worker does for each message before it calls a provider: it chooses one, and fills in the words.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::config::{Routed, Routes as Settings, Share};
use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::finish::{Failure, Handed};
use providers::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest};
use worker::message::{Filling, Templates};
use worker::place::Place;
use worker::route::{Routes, Tried, Unrouted};

use super::Repeat;
use super::domain::NOW;

/// A provider that is only ever chosen.
#[derive(Debug)]
struct Named(&'static str);

#[async_trait]
impl Provider for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }

    async fn send(&self, _message: &Message) -> Result<Handed, Failure> {
        Ok(Handed::default())
    }

    async fn check(&self) -> Check {
        Check::default()
    }

    fn receipts(&self, _request: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        Err(BadReceipt::NotSupported)
    }
}

/// One of three providers with weights.
pub(super) fn route() -> Repeat {
    let names = ["acme", "best", "cheap"];
    let shares = names.iter().zip([50, 30, 20]);
    let shares = shares.map(|(name, weight)| Share { provider: (*name).to_owned(), weight: Some(weight) });
    let settings = Settings { sms: shares.collect(), ..Settings::default() };
    let providers = names.map(|name| Arc::new(Named(name)) as Arc<dyn Provider>).into();
    let inbox = Arc::new(Named("sandbox"));
    let routes = Routes::new(&settings, providers, inbox, Unrouted::Refused, &HashMap::new(), 128).expect("routes");
    let project = common::tenancy::new_project_id().as_uuid();
    let place = Place::new(Channel::Sms, "DE");
    Box::new(move || {
        let message = Routed { project, channel: Channel::Sms, country: Some("DE"), target: "+4915112345678" };
        let picked = routes.of(Mode::Live, &message).pick(&place, Tried { names: &[], last: None }, NOW, 0.6);
        black_box(picked).expect("a provider");
    })
}

/// The words of one SMS.
pub(super) fn words() -> Repeat {
    let templates = Templates::new().expect("templates");
    let code = Code::parse("012345").expect("a code");
    Box::new(move || {
        let remaining = Duration::from_secs(281);
        let filling =
            Filling { project: "Acme", code: &code, remaining, host: Some("login.example.com"), locale: "de-AT" };
        black_box(templates.render(Channel::Sms, &filling)).expect("words");
    })
}
