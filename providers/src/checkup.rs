//! A provider's check as operators see it: asked within a time, heard out, judged. What follows is the worker's affair.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Clock;
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::time::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::http::{self, Heard};
use crate::mask::Mask;
use crate::{Check, Provider, excerpt};

/// From this many seconds on a clock is worth a word.
pub const SKEW_TOLD: i64 = 30;
/// From this many on, signed requests and signed receipts are refused as too old.
pub const SKEW_FATAL: i64 = 300;

/// Asks providers how they are. What they say comes without the secrets of their settings.
#[derive(Debug)]
pub struct Examiner {
    masks: BTreeMap<String, Mask>,
    clock: Clock,
    limit: Duration,
}

/// What a check has found, and what was seen on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkup {
    pub check: Check,
    /// By how many seconds our clock is ahead of the vendor's; behind where negative.
    pub clock_skew_s: Option<i64>,
    pub took: Duration,
}

/// What is to be thought of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Works,
    /// It may well work, but this is not as it should be, or nothing is known.
    Doubtful(Fault),
    Broken(Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Misconfigured(Misconfiguration),
    Unreachable,
    /// Something answers, but no TLS connection can be made with it.
    Tls,
    Unavailable,
    Throttled,
    /// In seconds.
    ClockSkew(i64),
}

impl Examiner {
    /// For the providers of these settings. Each check has `limit`.
    #[must_use]
    pub fn new(settings: &BTreeMap<String, Value>, clock: Clock, limit: Duration) -> Self {
        let masks = settings.iter().map(|(name, value)| (name.clone(), Mask::of(value))).collect();
        Self { masks, clock, limit }
    }

    pub async fn ask(&self, provider: &dyn Provider) -> Checkup {
        let started = Instant::now();
        let (answered, heard) = http::overhear(timeout(self.limit, provider.check())).await;
        let clock_skew_s = heard.date.map(|(date, came)| skew_s(self.clock.now() - came.elapsed(), date));
        let mut check = answered.unwrap_or_else(|_| silent(self.limit));
        let no_reply = heard.unanswered().filter(|_| check.reachable == Some(false));
        check.trouble = check.trouble.or(no_reply);
        if let Some(mask) = self.masks.get(provider.name()) {
            conceal(&mut check, mask);
        }
        Checkup { check, clock_skew_s, took: started.elapsed() }
    }
}

impl Heard {
    fn unanswered(self) -> Option<(Cause, String)> {
        self.trouble.map(|trouble| (trouble.cause, excerpt(&trouble.words)))
    }
}

fn silent(limit: Duration) -> Check {
    let words = format!("no answer within {} s", limit.as_secs_f32());
    Check { reachable: Some(false), trouble: Some((Cause::Unavailable, words)), ..Check::default() }
}

fn conceal(check: &mut Check, mask: &Mask) {
    let problem = check.problem.as_mut().map(|(_, words)| words);
    let trouble = check.trouble.as_mut().map(|(_, words)| words);
    let shown = [check.balance.as_mut(), check.sender.as_mut(), problem, trouble];
    shown.into_iter().flatten().for_each(|words| *words = mask.hide(words));
}

/// A date says a second, which is half over on average.
fn skew_s(ours: Timestamp, date: Timestamp) -> i64 {
    (ours.as_ms() - date.as_ms()).div_euclid(1000)
}

impl Check {
    /// The number in the balance.
    #[must_use]
    pub fn amount(&self) -> Option<f64> {
        crate::check::amount(self.balance.as_deref()?)
    }
}

impl Checkup {
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let skew = self.clock_skew_s.unwrap_or(0);
        match &self.check {
            Check { problem: Some((what, _)), .. } => Verdict::Broken(Fault::Misconfigured(*what)),
            Check { credentials: Some(false), .. } => {
                Verdict::Broken(Fault::Misconfigured(Misconfiguration::Credentials))
            }
            Check { reachable: Some(false), trouble: Some((_, words)), .. } if http::is_about_tls(words) => {
                Verdict::Broken(Fault::Tls)
            }
            Check { reachable: Some(false), .. } => Verdict::Broken(Fault::Unreachable),
            Check { trouble: Some((Cause::Throttled { .. }, _)), .. } => Verdict::Doubtful(Fault::Throttled),
            Check { trouble: Some(_), .. } => Verdict::Broken(Fault::Unavailable),
            _ if skew.abs() >= SKEW_FATAL => Verdict::Broken(Fault::ClockSkew(skew)),
            _ if skew.abs() >= SKEW_TOLD => Verdict::Doubtful(Fault::ClockSkew(skew)),
            _ => Verdict::Works,
        }
    }

    /// The vendor's own words, or why there are none.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        let problem = self.check.problem.as_ref().map(|(_, words)| words);
        let trouble = self.check.trouble.as_ref().map(|(_, words)| words);
        problem.or(trouble).map(String::as_str)
    }
}

impl Verdict {
    #[must_use]
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::Works => None,
            Self::Doubtful(fault) | Self::Broken(fault) => Some(fault),
        }
    }

    /// As it is shown: `ok`, `warning` or `broken`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Works => "ok",
            Self::Doubtful(_) => "warning",
            Self::Broken(_) => "broken",
        }
    }
}

impl Fault {
    /// The name under which it is shown; those of misconfigurations are the causes of attempts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Misconfigured(what) => Cause::Misconfigured(what).as_str(),
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::ClockSkew(_) => "clock_skew",
        }
    }

    /// What the operator should do about it, in a sentence.
    #[must_use]
    pub fn advice(self) -> Cow<'static, str> {
        match self {
            Self::Misconfigured(what) => what.advice().into(),
            Self::Unreachable => "nothing answers: check the way out from here (DNS, firewall), whether the provider \
                                  allows this server's address, and its status page"
                .into(),
            Self::Tls => {
                "something answers, but not with TLS that can be trusted: check the address and its port, this \
                          machine's clock, and whether a proxy stands between with a certificate of its own"
                    .into()
            }
            Self::Unavailable => "the provider answers that it cannot now: see its status page".into(),
            Self::Throttled => "the provider was asked too often to say: ask again in a minute".into(),
            Self::ClockSkew(ahead) => {
                let way = if ahead > 0 { "ahead of" } else { "behind" };
                let seconds = ahead.unsigned_abs();
                format!(
                    "this clock is {seconds} s {way} the provider's: set it by NTP, from {SKEW_FATAL} s on signatures \
                     are refused"
                )
                .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answering, tools};
    use crate::{registry, usual};
    use serde_json::json;
    use std::sync::Arc;
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    const NOW: Timestamp = Timestamp::from_ms(1_752_402_600_500);

    fn examined(table: &Value, limit: Duration) -> (Examiner, Arc<dyn Provider>) {
        let settings: BTreeMap<String, Value> = serde_json::from_value(json!({ "vonage": table })).expect("settings");
        let provider = registry::build(&settings, &tools()).expect("a provider").remove(0);
        (Examiner::new(&settings, Clock::default(), limit), provider)
    }

    async fn asked(account_url: &str, limit: Duration) -> Checkup {
        let table = json!({"api_key": "abcd1234", "api_secret": "hunter2", "from": "Shop", "account_url": account_url});
        let (examiner, provider) = examined(&table, limit);
        examiner.ask(&*provider).await
    }

    fn checkup(check: Check, clock_skew_s: Option<i64>) -> Checkup {
        Checkup { check, clock_skew_s, took: Duration::ZERO }
    }

    #[track_caller]
    fn judge(check: Check, clock_skew_s: Option<i64>, expected: Verdict) {
        let verdict = checkup(check, clock_skew_s).verdict();
        assert_eq!(verdict, expected);
        if let Some(advice) = verdict.fault().map(Fault::advice) {
            assert!(advice.contains(": ") && !advice.ends_with('.'), "{advice}");
        }
    }

    #[test]
    fn a_verdict_names_what_is_most_wrong() {
        use Misconfiguration::{Balance, Credentials, Sender};
        let fine = Check { reachable: Some(true), credentials: Some(true), ..Check::default() };
        let problem = |what| Check { problem: Some((what, "no".to_owned())), ..fine.clone() };
        let trouble = |cause| Check { trouble: Some((cause, "no".to_owned())), ..fine.clone() };
        judge(fine.clone(), Some(0), Verdict::Works);
        judge(Check { reachable: Some(true), ..Check::default() }, None, Verdict::Works);
        judge(problem(Balance), Some(4000), Verdict::Broken(Fault::Misconfigured(Balance)));
        judge(problem(Sender), None, Verdict::Broken(Fault::Misconfigured(Sender)));
        let refused = Check { credentials: Some(false), ..fine.clone() };
        judge(refused, None, Verdict::Broken(Fault::Misconfigured(Credentials)));
        let away = Check { reachable: Some(false), ..Check::default() };
        judge(away.clone(), None, Verdict::Broken(Fault::Unreachable));
        let words = "error sending request: client error (Connect): invalid peer certificate: Expired".to_owned();
        let untrusted = Check { trouble: Some((Cause::Unavailable, words)), ..away };
        judge(untrusted, None, Verdict::Broken(Fault::Tls));
        judge(trouble(Cause::Unavailable), None, Verdict::Broken(Fault::Unavailable));
        judge(trouble(Cause::Throttled { retry_after: None }), None, Verdict::Doubtful(Fault::Throttled));
    }

    #[test]
    fn a_clock_is_told_of_and_then_is_broken() {
        let fine = Check { reachable: Some(true), ..Check::default() };
        for (skew, expected) in [
            (29, Verdict::Works),
            (-29, Verdict::Works),
            (30, Verdict::Doubtful(Fault::ClockSkew(30))),
            (-299, Verdict::Doubtful(Fault::ClockSkew(-299))),
            (-300, Verdict::Broken(Fault::ClockSkew(-300))),
        ] {
            judge(fine.clone(), Some(skew), expected);
        }
        assert!(Fault::ClockSkew(90).advice().starts_with("this clock is 90 s ahead of "));
        assert!(Fault::ClockSkew(-90).advice().starts_with("this clock is 90 s behind "));
    }

    #[test]
    fn skew_is_ours_against_the_second_that_a_date_says() {
        for (later_ms, expected) in [(0, 0), (499, 0), (500, 1), (-500, 0), (-501, -1), (60_000, 60), (-60_000, -60)] {
            let date = Timestamp::from_ms(NOW.as_ms() / 1000 * 1000);
            assert_eq!(skew_s(Timestamp::from_ms(NOW.as_ms() + later_ms), date), expected, "{later_ms}");
        }
    }

    #[test]
    fn the_amount_is_the_first_number() {
        for (balance, expected) in [
            ("KES 1785.50", Some(1785.5)),
            ("-0.5 EUR", Some(-0.5)),
            ("193 of 200 left in 24 h", Some(193.0)),
            ("plenty", None),
            ("NaN", None),
        ] {
            let check = Check { balance: Some(balance.to_owned()), ..Check::default() };
            assert_eq!(check.amount(), expected, "{balance}");
        }
        assert_eq!(Check::default().amount(), None);
    }

    #[tokio::test]
    async fn the_vendors_date_tells_how_our_clock_goes() {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_json(json!({"value": 12.5}));
        let answer = answer.insert_header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let checkup = asked(&server.uri(), Duration::from_secs(60)).await;
        assert_eq!((checkup.check.credentials, checkup.check.amount()), (Some(true), Some(12.5)));
        assert!(matches!(checkup.verdict(), Verdict::Broken(Fault::ClockSkew(900_000_000..))), "{checkup:?}");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for() {
        let server = MockServer::start().await;
        let late = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
        Mock::given(any()).respond_with(late).mount(&server).await;
        let silent = asked(&server.uri(), Duration::from_millis(200)).await;
        assert_eq!(
            (silent.verdict(), silent.detail()),
            (Verdict::Broken(Fault::Unreachable), Some("no answer within 0.2 s"))
        );
        let plain = asked(&server.uri().replace("http", "https"), Duration::from_secs(60)).await;
        assert_eq!(plain.verdict(), Verdict::Broken(Fault::Tls), "{plain:?}");
        let away = asked("http://127.0.0.1:9", Duration::from_secs(60)).await;
        assert_eq!(away.verdict(), Verdict::Broken(Fault::Unreachable));
        assert!(away.detail().expect("why").contains("error sending request"), "{away:?}");
    }

    #[tokio::test]
    async fn a_vendor_that_repeats_our_secrets_is_not_repeated() {
        let quoting = answering(401, json!({"title": "hunter2", "detail": "Basic YWJjZDEyMzQ6aHVudGVyMg=="})).await;
        let checkup = asked(&quoting.uri(), Duration::from_secs(60)).await;
        let shown = format!("{checkup:?}");
        assert_eq!(checkup.verdict(), Verdict::Broken(Fault::Misconfigured(Misconfiguration::Credentials)));
        assert!(shown.contains("Basic ***") && !shown.contains("hunter2") && !shown.contains("YWJj"), "{shown}");
    }

    #[tokio::test]
    async fn a_mail_server_that_is_away_is_unreachable_and_has_no_date() {
        let variables = BTreeMap::from([("SMTP_URL", "smtp://127.0.0.1:9"), ("SMTP_FROM", "otp@example.com")]);
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let settings = usual::settings(&variables);
        let provider = registry::build(&settings, &tools()).expect("a provider").remove(0);
        let examiner = Examiner::new(&settings, Clock::default(), Duration::from_secs(60));
        let checkup = examiner.ask(&*provider).await;
        assert_eq!((checkup.verdict(), checkup.clock_skew_s), (Verdict::Broken(Fault::Unreachable), None));
    }
}
