//! A running system with two vendors of the tests' own: `twilio` for SMS and WhatsApp, and `own`, a webhook, for SMS
//! and e-mail. SMS goes to `twilio` first.

use serde_json::{Value, json};

#[cfg(feature = "server-tests")]
use crate::harness::Distributed;
use crate::harness::client::reply;
use crate::harness::process::{Environment, Process, run};
use crate::harness::{Client, Embedded, eventually};

use super::vendor::{AUTH_TOKEN, Answer, SECRET, Vendor};

/// What the outside world calls the API; receipts are carried from there by the tests.
pub(super) const PUBLIC_URL: &str = "https://otp.example.com";
/// Fast for who waits for a silent vendor, and still enough for the others where the machine is busy.
pub(super) const FAST: &[(&str, &str)] = &[("OTPD_WORKER__PROVIDER_TIMEOUT_MS", "4000")];

pub(super) struct Rig {
    /// With the live key.
    pub(super) client: Client,
    pub(super) twilio: Vendor,
    pub(super) own: Vendor,
    pub(super) otpd: Otpd,
    environment: Environment,
    data: Option<String>,
    /// Where the worker's metrics are.
    metrics: String,
}

pub(super) enum Otpd {
    Embedded(Embedded),
    #[cfg(feature = "server-tests")]
    Distributed(Distributed),
}

/// Runs scenarios in both ways to run, each with a rig: `rigged!(name, other with SETTINGS)`.
macro_rules! rigged {
    (@) => { &[] };
    (@ $settings:ident) => { super::$settings };
    ($($scenario:ident $(with $settings:ident)?),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let rig = $crate::delivery::rig::Rig::embedded($crate::delivery::rig::rigged!(@ $($settings)?)).await;
                    super::$scenario(rig).await;
                }
            )+
        }
        #[cfg(feature = "server-tests")]
        mod distributed {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let rig = $crate::delivery::rig::Rig::distributed($crate::delivery::rig::rigged!(@ $($settings)?)).await;
                    super::$scenario(rig).await;
                }
            )+
        }
    };
}
pub(super) use rigged;

/// `twilio` and `own`, both well.
pub(super) fn vendors() -> (Vendor, Vendor) {
    (Vendor::start(Answer::queued()), Vendor::start(Answer::taken()))
}

fn settings<'a>(twilio: &'a Vendor, own: &'a Vendor, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = vec![
        ("OTPD_SERVER__PUBLIC_URL", PUBLIC_URL),
        ("OTPD_PROVIDERS__TWILIO__ACCOUNT_SID", "AC1"),
        ("OTPD_PROVIDERS__TWILIO__AUTH_TOKEN", AUTH_TOKEN),
        ("OTPD_PROVIDERS__TWILIO__FROM", "+15005550006"),
        ("OTPD_PROVIDERS__TWILIO__WHATSAPP_FROM", "+15005550007"),
        ("OTPD_PROVIDERS__TWILIO__BASE_URL", &twilio.url),
        ("OTPD_PROVIDERS__OWN__KIND", "webhook"),
        ("OTPD_PROVIDERS__OWN__URL", &own.url),
        ("OTPD_PROVIDERS__OWN__SECRETS", SECRET),
        ("OTPD_PROVIDERS__OWN__CHANNELS", "sms,email"),
        ("OTPD_ROUTES__SMS", "twilio,own"),
    ];
    settings.extend(more);
    settings
}

impl Rig {
    pub(super) async fn embedded(more: &[(&str, &str)]) -> Self {
        Self::embedded_with(vendors(), more).await
    }

    pub(super) async fn embedded_with((twilio, own): (Vendor, Vendor), more: &[(&str, &str)]) -> Self {
        let otpd = Embedded::start_with(&settings(&twilio, &own, more)).await;
        let (client, environment, data) = (otpd.client().live(), otpd.environment.clone(), Some(otpd.data()));
        let metrics = client.admin.clone();
        Self { client, twilio, own, otpd: Otpd::Embedded(otpd), environment, data, metrics }
    }

    #[cfg(feature = "server-tests")]
    pub(super) async fn distributed(more: &[(&str, &str)]) -> Self {
        Self::distributed_with(vendors(), more).await
    }

    #[cfg(feature = "server-tests")]
    pub(super) async fn distributed_with((twilio, own): (Vendor, Vendor), more: &[(&str, &str)]) -> Self {
        let mut otpd = Distributed::start_with(1, 0, &settings(&twilio, &own, more)).await;
        let metrics = otpd.add_worker().await;
        let (client, environment) = (otpd.client().live(), otpd.environment.clone());
        Self { client, twilio, own, otpd: Otpd::Distributed(otpd), environment, data: None, metrics }
    }

    /// Sends an SMS; the verification's id.
    pub(super) async fn sms(&self, number: &str) -> String {
        let body = json!({ "target": number, "channel": "sms" });
        self.client.send(&body).await.expect(202).text("recordId").to_owned()
    }

    /// The newest dispatch of a verification, once it has this status.
    pub(super) async fn dispatch_in(&self, id: &str, status: &str) -> Value {
        let record = self.client.record_in(id, &[status]).await;
        record["dispatches"].as_array().expect("dispatches").last().expect("a dispatch").clone()
    }

    /// The newest dispatch of a verification, once it waits after so many attempts or has ended.
    pub(super) async fn after_attempts(&self, id: &str, count: usize) -> Value {
        eventually(&format!("{count} attempts of {id}"), || async {
            let record = self.client.record(id).await;
            let dispatch = record["dispatches"].as_array()?.last()?.clone();
            let is_waiting = dispatch["status"] != "sending" && dispatch["attempts"].as_array()?.len() >= count;
            is_waiting.then_some(dispatch)
        })
        .await
    }

    /// Runs a command of the program beside the system, which must succeed.
    pub(super) fn run(&self, arguments: &[&str]) {
        let data = self.data.iter().flat_map(|data| ["--data", data.as_str()]);
        let arguments: Vec<_> = arguments.iter().copied().chain(data).collect();
        let (code, _, log) = run(&arguments, &self.environment);
        assert_eq!(code, 0, "{log}");
    }

    /// Waits until the breaker of a provider is shown as 0 closed, 1 half-open, 2 open.
    pub(super) async fn breaker(&self, provider: &str, position: u8) {
        self.metric("otpd_provider_breaker", provider, &position.to_string()).await;
    }

    /// Waits until a metric of a provider has this value.
    pub(super) async fn metric(&self, name: &str, provider: &str, value: &str) {
        let line = format!("{name}{{provider=\"{provider}\"}} {value}");
        let shown = || async { self.metrics().await.lines().any(|shown| shown == line).then_some(()) };
        eventually(&line, shown).await;
    }

    pub(super) async fn metrics(&self) -> String {
        let metrics = reply(self.client.http.get(format!("{}/metrics", self.metrics))).await.body;
        metrics.as_str().expect("text").to_owned()
    }

    fn worker(&self) -> &Process {
        match &self.otpd {
            Otpd::Embedded(otpd) => &otpd.process,
            #[cfg(feature = "server-tests")]
            Otpd::Distributed(otpd) => &otpd.workers[0],
        }
    }

    /// Waits until the worker says this: it comes a moment after the metrics.
    pub(super) async fn says(&self, words: &str) {
        self.worker().says(words).await;
    }

    /// How often the worker has said this.
    pub(super) fn said(&self, words: &str) -> usize {
        self.worker().log_text().lines().filter(|line| line.contains(words)).count()
    }

    pub(super) async fn tokens_used(&self) -> Value {
        self.client.get("/api/v1/otp/token-info").await.expect(200).body["tokensUsed"].clone()
    }
}

/// Of each attempt: the provider, and its cause or else its status.
pub(super) fn attempts(dispatch: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attempts = dispatch["attempts"].as_array().expect("attempts").iter();
    attempts
        .map(|attempt| {
            let how = if attempt["cause"].is_null() { &attempt["status"] } else { &attempt["cause"] };
            format!("{} {}", text(&attempt["provider"]), text(how))
        })
        .collect()
}
