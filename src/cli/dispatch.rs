//! `otpd dispatch`: what waits, what failed, and trying one again.

use clap::{Args, Subcommand};
use common::otp::ids::DispatchId;
use common::otp::retry::{self, NotRetried};
use common::otp::rows::Dispatch;
use common::otp::status::DispatchStatus;
use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::Admin;
use crate::outcome::{Failure, Outcome, say};

#[derive(Debug, Subcommand)]
pub(super) enum DispatchCommand {
    /// List dispatches, newest first: those that wait or failed, or those of a status
    List(List),
    /// Make a dispatch due now: a waiting one, or one that failed while its code still lives
    Retry(Retry),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    admin: Admin,
    /// waiting, queued, sending, sent, delivered, undelivered, failed or expired; several with commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',', default_value = "queued,sending,failed")]
    status: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    #[command(flatten)]
    admin: Admin,
    /// The dispatch's id, as `otpd dispatch list` shows it
    dispatch: String,
}

impl DispatchCommand {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::List(command) => command.run().await,
            Self::Retry(command) => command.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Outcome {
        let parse = |name: &String| {
            DispatchStatus::parse(name).ok_or_else(|| Failure::Usage(format!("{name} is no status of a dispatch")))
        };
        let statuses: Vec<_> = self.status.iter().map(parse).collect::<Result<_, _>>()?;
        let dispatches = self.admin.store().await?.list_dispatches(&statuses, self.limit).await?;
        if self.admin.json {
            say(Value::from(dispatches.iter().map(in_json).collect::<Vec<_>>()));
            return Ok(());
        }
        for dispatch in dispatches {
            let (provider, reason) = (dispatch.provider.as_deref(), dispatch.reason.as_deref());
            say(format!(
                "{}  {:11}  {:8}  attempt {}  {}  {}",
                dispatch.id,
                dispatch.status.as_str(),
                dispatch.channel.as_str(),
                dispatch.attempt,
                provider.unwrap_or("-"),
                reason.unwrap_or("-"),
            ));
        }
        Ok(())
    }
}

impl Retry {
    async fn run(self) -> Outcome {
        let id: DispatchId =
            self.dispatch.parse().map_err(|error| Failure::Usage(format!("{}: {error}", self.dispatch)))?;
        let store = self.admin.store().await?;
        match store.retry(store.now().await?, id).await? {
            Ok(()) if self.admin.json => say(json!({ "retried": true, "dispatch": id.to_string() })),
            Ok(()) => say(format!("{id} is due now")),
            Err(problem) => return Err(Failure::failed(words(problem))),
        }
        Ok(())
    }
}

const fn words(problem: NotRetried) -> &'static str {
    match problem {
        retry::NotRetried::Unknown => "there is no such dispatch",
        retry::NotRetried::Held => "a worker is at it right now",
        retry::NotRetried::Accepted => "a provider has accepted it: there is nothing to retry",
        retry::NotRetried::Dead => "its code is no longer good: send a new one",
        retry::NotRetried::NoToken => "its project has no token left",
        retry::NotRetried::Overtaken => "its code goes or went out by a later one of its chain",
        retry::NotRetried::Fallback => "it is a fallback that has not gone out: it does so by itself, or is not needed",
    }
}

fn in_json(dispatch: &Dispatch) -> Value {
    json!({
        "dispatch": dispatch.id.to_string(),
        "project_id": dispatch.project.to_string(),
        "mode": dispatch.mode.as_str(),
        "channel": dispatch.channel.as_str(),
        "status": dispatch.status.as_str(),
        "attempt": dispatch.attempt,
        "provider": dispatch.provider,
        "error": dispatch.reason,
        "fallback_at": dispatch.fallback.map(|fallback| fallback.at.rfc3339()),
        "created_at": dispatch.created.rfc3339(),
        "sent_at": dispatch.sent.map(Timestamp::rfc3339),
        "delivered_at": dispatch.delivered.map(Timestamp::rfc3339),
    })
}
