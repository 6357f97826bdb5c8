//! A rehearsal: vendors that are played, and an otpd on the settings that they print.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

#[cfg(feature = "server-tests")]
use crate::harness::Distributed;
use crate::harness::client::{Client, reply};
use crate::harness::simulated::Simulated;
use crate::harness::{Embedded, eventually};

/// The settings of a worker that does not wait long for a vendor, and still long enough where the machine is busy.
pub(super) const FAST: (&str, &str) = ("OTPD_WORKER__PROVIDER_TIMEOUT_MS", "3000");

/// Messages find out what is wrong, unless a drill says otherwise.
const UNCHECKED: (&str, &str) = ("OTPD_WORKER__PROVIDER_CHECK_EVERY_S", "0");
pub(super) const CHECKED: (&str, &str) = ("OTPD_WORKER__PROVIDER_CHECK_EVERY_S", "300");

pub(super) struct Rehearsal {
    pub(super) vendors: Simulated,
    /// With the live key.
    pub(super) client: Client,
    /// Where the worker's metrics are.
    metrics: String,
    _otpd: Otpd,
    _dir: TempDir,
}

#[expect(dead_code, reason = "it is kept running")]
enum Otpd {
    Embedded(Embedded),
    #[cfg(feature = "server-tests")]
    Distributed(Distributed),
}

/// Runs drills in one process, `drilled!(name: &[arguments], &[settings];)`, or also in many, `drilled!(in both: …)`.
macro_rules! drilled {
    ($($drill:ident: $arguments:expr, $settings:expr;)+) => {
        mod one_process {
            $(
                #[tokio::test]
                async fn $drill() {
                    use super::*;
                    super::$drill(Rehearsal::start($arguments, $settings).await).await;
                }
            )+
        }
    };
    (in both: $($drill:ident: $arguments:expr, $settings:expr;)+) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $drill() {
                    use super::*;
                    super::$drill(Rehearsal::start($arguments, $settings).await).await;
                }
            )+
        }
        #[cfg(feature = "server-tests")]
        mod distributed {
            $(
                #[tokio::test]
                async fn $drill() {
                    use super::*;
                    super::$drill(Rehearsal::distributed($arguments, $settings).await).await;
                }
            )+
        }
    };
}
pub(super) use drilled;

/// The vendors, and the file of settings that they print.
fn played(arguments: &[&str]) -> (Simulated, TempDir, String) {
    let vendors = Simulated::start(arguments);
    let dir = TempDir::new().expect("a directory");
    let config = vendors.config_in(dir.path()).to_str().expect("a path in UTF-8").to_owned();
    (vendors, dir, config)
}

impl Rehearsal {
    /// Plays what the arguments say, for an otpd with more settings in its environment.
    pub(super) async fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let (vendors, dir, config) = played(arguments);
        let otpd = Embedded::start_with(&[&[("OTPD_CONFIG", config.as_str()), UNCHECKED], settings].concat()).await;
        let client = otpd.client().live();
        vendors.receipts_go_to(&client.urls[0]);
        Self { vendors, metrics: client.admin.clone(), client, _otpd: Otpd::Embedded(otpd), _dir: dir }
    }

    #[cfg(feature = "server-tests")]
    pub(super) async fn distributed(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let (vendors, dir, config) = played(arguments);
        let settings = [&[("OTPD_CONFIG", config.as_str()), UNCHECKED], settings].concat();
        let mut otpd = Distributed::start_with(1, 0, &settings).await;
        let metrics = otpd.add_worker().await;
        let client = otpd.client().live();
        vendors.receipts_go_to(&client.urls[0]);
        Self { vendors, metrics, client, _otpd: Otpd::Distributed(otpd), _dir: dir }
    }

    /// Sends a code that lives for a minute, so that nothing of it is left when time is moved on by one; the
    /// verification's id.
    pub(super) async fn send(&self, channel: &str, target: &str) -> String {
        let body = json!({ "target": target, "channel": channel, "ttl": 60 });
        self.client.send(&body).await.expect(202).text("recordId").to_owned()
    }

    /// The newest dispatch of a verification, once it has this status.
    pub(super) async fn dispatch_in(&self, id: &str, status: &str) -> Value {
        let record = self.client.record_in(id, &[status]).await;
        record["dispatches"].as_array().expect("dispatches").last().expect("a dispatch").clone()
    }

    /// The newest dispatch, once it waits after so many attempts or has ended.
    pub(super) async fn after_attempts(&self, id: &str, count: usize) -> Value {
        eventually(&format!("{count} attempts of {id}"), || async {
            let record = self.client.record(id).await;
            let dispatch = record["dispatches"].as_array()?.last()?.clone();
            let is_waiting = dispatch["status"] != "sending" && dispatch["attempts"].as_array()?.len() >= count;
            is_waiting.then_some(dispatch)
        })
        .await
    }

    /// The code in the newest message of a vendor.
    pub(super) async fn code_at(&self, vendor: &str) -> String {
        let message = self.vendors.message(vendor).await;
        let text = message["text"].as_str().expect("words");
        let runs = text.split(|c: char| !c.is_ascii_digit());
        runs.into_iter().find(|run| run.len() == 6).unwrap_or_else(|| panic!("a code in {text}")).to_owned()
    }

    /// Waits until the breaker of a provider is shown as 0 closed, 1 half-open, 2 open.
    pub(super) async fn breaker(&self, provider: &str, position: u8) {
        self.metric(&format!("otpd_provider_breaker{{provider=\"{provider}\"}} {position}")).await;
    }

    /// Waits until the worker shows this line.
    pub(super) async fn metric(&self, line: &str) {
        eventually(line, || async {
            let metrics = reply(self.client.http.get(format!("{}/metrics", self.metrics))).await.body;
            metrics.as_str()?.lines().any(|shown| shown == line).then_some(())
        })
        .await;
    }

    pub(super) async fn tokens_used(&self) -> Value {
        self.client.get("/api/v1/otp/token-info").await.expect(200).body["tokensUsed"].clone()
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.client.clock.advance(Duration::from_secs(seconds));
    }
}

/// A time of an attempt, in milliseconds.
pub(super) fn time(attempt: &Value, name: &str) -> i64 {
    let text = attempt[name].as_str().unwrap_or_else(|| panic!("{name} in {attempt}"));
    text.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
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
