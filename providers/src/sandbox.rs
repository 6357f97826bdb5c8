//! The sandbox: it sends nothing and keeps messages in the inbox. Magic targets make it behave as vendors do on bad
//! days; docs/sandbox.md has the table.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::otp::channel::Channel;
use common::otp::finish::{Failure, Handed};
use common::otp::provider_error::{Cause, Misconfiguration};
use common::otp::status::ReceiptStatus;
use common::otp::target::{MAGIC_DOMAIN, MAGIC_PREFIX, Target};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::facts::Facts;
use crate::inbox::Inbox;
use crate::registry::{Kind, Tools};
use crate::settings::Settings;
use crate::words::failure;
use crate::{BadReceipt, Check, Message, Provider, ReceiptEvent, ReceiptRequest};

/// It is the one provider of its kind.
pub const NAME: &str = "sandbox";
const SLOW: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Attempts that a `fail2` target fails.
const FAILING: i16 = 2;

pub(crate) const KIND: Kind = Kind {
    name: NAME,
    configure: |settings, tools| {
        let problems = Settings::finish(settings);
        if problems.is_empty() { Ok(Arc::new(Sandbox::new(tools))) } else { Err(problems) }
    },
    environment: &[],
    switched_on_by: &[],
    facts: Facts {
        title: "the sandbox",
        channels: &Channel::ALL,
        receipts: "played",
        signature: "none",
        check: "always well",
        needs: "nothing",
        certainty: "certain",
    },
};

/// Takes receipts that come from inside the program.
pub trait ReceiptSink: fmt::Debug + Send + Sync {
    /// Takes it over; must not block.
    fn receive(&self, provider: &str, event: ReceiptEvent);
}

/// What a target makes the sandbox do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Plain,
    Rejected,
    Throttled,
    Slow,
    Timeout,
    Fail2,
    Misconfigured,
    Late,
    Lost,
}

/// By the local part of an address and by the last two digits of a phone number.
const MAGIC: [(&str, &str, Behaviour); 8] = [
    ("rejected", "01", Behaviour::Rejected),
    ("throttled", "02", Behaviour::Throttled),
    ("slow", "03", Behaviour::Slow),
    ("timeout", "04", Behaviour::Timeout),
    ("fail2", "05", Behaviour::Fail2),
    ("misconfigured", "06", Behaviour::Misconfigured),
    ("late", "07", Behaviour::Late),
    ("lost", "08", Behaviour::Lost),
];

impl Behaviour {
    fn of(target: &Target) -> Self {
        let target = target.delivered().to_ascii_lowercase();
        let (name, digits) = (target.strip_suffix(MAGIC_DOMAIN), target.strip_prefix(MAGIC_PREFIX));
        let magic = MAGIC.iter().find(|magic| name == Some(magic.0) || digits == Some(magic.1));
        magic.map_or(Self::Plain, |magic| magic.2)
    }
}

#[derive(Debug)]
pub struct Sandbox {
    inbox: Arc<dyn Inbox>,
    receipts: Arc<dyn ReceiptSink>,
    tasks: TaskTracker,
}

impl Sandbox {
    #[must_use]
    pub fn new(tools: &Tools) -> Self {
        let Tools { inbox, receipts, tasks, .. } = tools;
        Self { inbox: Arc::clone(inbox), receipts: Arc::clone(receipts), tasks: tasks.clone() }
    }

    async fn keep(&self, message: &Message, delivered: bool) -> Result<Handed, Failure> {
        self.inbox.keep(message).await.map_err(|words| failure(message, Cause::Unavailable, &words))?;
        Ok(Handed { message_id: Some(message_id(message)), delivered })
    }

    fn deliver_later(&self, message: &Message) {
        let event = ReceiptEvent {
            message_id: message_id(message),
            attempt: Some(message.attempt),
            status: ReceiptStatus::Delivered,
            detail: None,
        };
        let receipts = Arc::clone(&self.receipts);
        self.tasks.spawn(async move {
            sleep(LATE).await;
            receipts.receive(NAME, event);
        });
    }
}

fn message_id(message: &Message) -> String {
    message.attempt.to_string()
}

#[async_trait]
impl Provider for Sandbox {
    fn name(&self) -> &str {
        NAME
    }

    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }

    async fn send(&self, message: &Message) -> Result<Handed, Failure> {
        let fail = |cause| Err(failure(message, cause, "asked for by the magic target"));
        match Behaviour::of(&message.target) {
            Behaviour::Plain => self.keep(message, true).await,
            Behaviour::Rejected => fail(Cause::Rejected),
            Behaviour::Throttled => fail(Cause::Throttled { retry_after: Some(RETRY_AFTER) }),
            Behaviour::Slow => {
                sleep(SLOW).await;
                self.keep(message, true).await
            }
            Behaviour::Timeout => std::future::pending().await,
            Behaviour::Fail2 if message.attempt.n <= FAILING => fail(Cause::Unavailable),
            Behaviour::Fail2 => self.keep(message, true).await,
            Behaviour::Misconfigured => fail(Cause::Misconfigured(Misconfiguration::Credentials)),
            Behaviour::Late => {
                let handed = self.keep(message, false).await?;
                self.deliver_later(message);
                Ok(handed)
            }
            Behaviour::Lost => self.keep(message, false).await,
        }
    }

    async fn check(&self) -> Check {
        Check { reachable: Some(true), ..Check::default() }
    }

    fn receipts(&self, _: &ReceiptRequest<'_>) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        Err(BadReceipt::NotSupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Kept, email_to, sms_to, tools_with};
    use tokio::time::{Instant, timeout};

    async fn send(message: &Message) -> (Result<Handed, Cause>, usize) {
        let kept = Arc::new(Kept::default());
        let sent = Sandbox::new(&tools_with(&kept)).send(message).await.map_err(|failure| failure.cause);
        let inbox = kept.messages.lock().expect("lock").len();
        (sent, inbox)
    }

    /// Each magic target by both its names: failed, or accepted with or without being delivered at once.
    async fn check(name: &str, digits: &str, attempt: i16, expected: Result<bool, Cause>) {
        for mut message in [email_to(&format!("{name}@Sandbox.otpd")), sms_to(&format!("+99900000{digits}"))] {
            message.attempt.n = attempt;
            let (sent, inbox) = send(&message).await;
            assert_eq!(sent.map(|handed| handed.delivered), expected, "{name}");
            assert_eq!(inbox, usize::from(expected.is_ok()), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn magic_targets_end_as_documented() {
        check("plain", "00", 1, Ok(true)).await;
        check("rejected", "01", 1, Err(Cause::Rejected)).await;
        check("throttled", "02", 1, Err(Cause::Throttled { retry_after: Some(RETRY_AFTER) })).await;
        check("slow", "03", 1, Ok(true)).await;
        check("fail2", "05", 1, Err(Cause::Unavailable)).await;
        check("fail2", "05", 2, Err(Cause::Unavailable)).await;
        check("fail2", "05", 3, Ok(true)).await;
        check("misconfigured", "06", 1, Err(Cause::Misconfigured(Misconfiguration::Credentials))).await;
        check("late", "07", 1, Ok(false)).await;
        check("lost", "08", 1, Ok(false)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn slow_takes_its_time_and_timeout_all_of_it() {
        let start = Instant::now();
        let (sent, _) = send(&sms_to("+9990000003")).await;
        assert!(sent.is_ok() && start.elapsed() >= SLOW);
        assert!(timeout(Duration::from_secs(60), send(&sms_to("+9990000004"))).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn late_is_delivered_five_seconds_later_and_lost_never() {
        let kept = Arc::new(Kept::default());
        let tools = tools_with(&kept);
        let sandbox = Sandbox::new(&tools);
        let start = Instant::now();
        let handed = sandbox.send(&email_to("late@sandbox.otpd")).await.expect("accepted");
        let _ = sandbox.send(&email_to("lost@sandbox.otpd")).await.expect("accepted");
        tools.tasks.close();
        tools.tasks.wait().await;
        assert!(start.elapsed() >= LATE);
        let receipts = kept.receipts.lock().expect("lock");
        let told: Vec<_> = receipts.iter().map(|event| (Some(event.message_id.clone()), event.status)).collect();
        assert_eq!(told, [(handed.message_id, ReceiptStatus::Delivered)]);
    }

    #[tokio::test]
    async fn an_inbox_that_is_away_is_an_unavailable_provider() {
        #[derive(Debug)]
        struct Away;
        #[async_trait]
        impl Inbox for Away {
            async fn keep(&self, _: &Message) -> Result<(), String> {
                Err("the store is away".to_owned())
            }
        }
        let tools = Tools { inbox: Arc::new(Away), ..tools_with(&Arc::default()) };
        let failed = Sandbox::new(&tools).send(&sms_to("+14155552671")).await.expect_err("failure");
        assert_eq!(failed, Failure { cause: Cause::Unavailable, detail: "the store is away".to_owned() });
    }
}
