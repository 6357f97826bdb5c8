//! What a vendor's answers mean, by configuration: conditions for each cause, for success, and where the id stands.

use common::otp::finish::Handed;
use common::otp::provider_error::{Cause, Misconfiguration};
use minijinja::value::Serde;
use minijinja::{Value, context};
use reqwest::header::HeaderMap;

use super::engine::{Engine, Unfit};
use crate::http::Reply;
use crate::settings::Settings;
use crate::words::message_id;

/// The causes that conditions may be given for, in the order in which they are asked.
const CAUSES: [(&str, Cause); 9] = [
    ("misconfigured_credentials", Cause::Misconfigured(Misconfiguration::Credentials)),
    ("misconfigured_balance", Cause::Misconfigured(Misconfiguration::Balance)),
    ("misconfigured_ip_blocked", Cause::Misconfigured(Misconfiguration::IpBlocked)),
    ("misconfigured_sender", Cause::Misconfigured(Misconfiguration::Sender)),
    ("rejected", Cause::Rejected),
    ("throttled", Cause::Throttled { retry_after: None }),
    ("unavailable", Cause::Unavailable),
    ("ambiguous", Cause::Ambiguous),
    ("misconfigured_endpoint", Cause::Misconfigured(Misconfiguration::Endpoint)),
];

/// What conditions may name of an answer, as [`answer`] has it.
pub(super) const ANSWER: [&str; 4] = ["status", "headers", "body", "json"];

pub(super) struct Answers {
    causes: Vec<(Cause, String)>,
    accepted: Option<String>,
    message_id: Option<String>,
}

impl Answers {
    pub(super) fn read(settings: &mut Settings<'_>, engine: &Engine) -> Self {
        let mut conditions = settings.texts("causes").unwrap_or_default();
        let causes = CAUSES.into_iter().filter_map(|(name, cause)| Some((cause, conditions.remove(name)?))).collect();
        if !conditions.is_empty() {
            let names = CAUSES.map(|(name, _)| name).join(", ");
            settings.problem("causes", format_args!("each must be one of {names}"));
        }
        let answers = Self {
            causes,
            accepted: expression(settings, engine, "accepted", &ANSWER),
            message_id: expression(settings, engine, "message_id", &ANSWER),
        };
        for (cause, condition) in &answers.causes {
            let name = CAUSES.iter().find(|(_, known)| known == cause).map_or("", |(name, _)| *name);
            check(settings, engine, &format!("causes.{name}"), condition, &ANSWER);
        }
        answers
    }

    /// Success: where nothing says what it is, it is 2xx, with an id where one is expected.
    pub(super) fn handed(&self, engine: &Engine, reply: &Reply, headers: &HeaderMap) -> Result<Handed, Cause> {
        let answer = answer(reply, headers);
        if let Some(cause) = self.named(engine, reply, &answer) {
            return Err(cause);
        }
        let id = self.message_id.as_ref().and_then(|expression| engine.text(expression, &answer));
        let id = id.as_deref().and_then(message_id);
        let is_accepted = match &self.accepted {
            Some(condition) => engine.holds(condition, &answer),
            None => reply.is_success() && (self.message_id.is_none() || id.is_some()),
        };
        // It was taken, only what it said was lost on the way.
        let is_cut_off = reply.is_success() && !reply.whole;
        if is_accepted || is_cut_off {
            return Ok(Handed { message_id: id, delivered: false });
        }
        Err(by_status(reply))
    }

    /// What is wrong with an answer to a check.
    pub(super) fn refusal(
        &self,
        engine: &Engine,
        reply: &Reply,
        answer: &Value,
        accepted: Option<&str>,
    ) -> Option<Cause> {
        if let Some(cause) = self.named(engine, reply, answer) {
            return Some(cause);
        }
        let is_accepted = accepted.map_or(reply.is_success(), |condition| engine.holds(condition, answer));
        (!is_accepted).then(|| by_status(reply))
    }

    fn named(&self, engine: &Engine, reply: &Reply, answer: &Value) -> Option<Cause> {
        let (cause, _) = self.causes.iter().find(|(_, condition)| engine.holds(condition, answer))?;
        Some(match cause {
            Cause::Throttled { .. } => Cause::Throttled { retry_after: reply.retry_after },
            other => other.clone(),
        })
    }
}

/// What conditions see of an answer.
pub(super) fn answer(reply: &Reply, headers: &HeaderMap) -> Value {
    let json: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
    let headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    context! {
        status => reply.status,
        body => String::from_utf8_lossy(&reply.body),
        json => json.map_or(Value::UNDEFINED, |json| Value::from(Serde(json))),
        headers => Value::from_pairs(headers),
    }
}

/// What nothing was said about. Only these statuses mean the same with everybody.
fn by_status(reply: &Reply) -> Cause {
    match reply.status {
        401 | 403 => Cause::Misconfigured(Misconfiguration::Credentials),
        402 => Cause::Misconfigured(Misconfiguration::Balance),
        429 => Cause::Throttled { retry_after: reply.retry_after },
        500.. => Cause::Unavailable,
        _ => Cause::Misconfigured(Misconfiguration::Endpoint),
    }
}

/// An expression of the settings, if it is one and names only what there is.
pub(super) fn expression(settings: &mut Settings<'_>, engine: &Engine, field: &str, known: &[&str]) -> Option<String> {
    let expression = settings.text(field)?;
    check(settings, engine, field, &expression, known);
    Some(expression)
}

fn check(settings: &mut Settings<'_>, engine: &Engine, field: &str, expression: &str, known: &[&str]) {
    match engine.compile(expression, known) {
        Ok(()) => {}
        Err(Unfit::Kind(problem)) => {
            settings.problem(field, format_args!("must be an expression such as json.error.code == 12 ({problem})"));
        }
        Err(Unfit::Unknown(name)) => {
            settings.problem(field, format_args!("there is no {name}: it may name {}", known.join(", ")));
        }
    }
}
