//! The chain of a send: what it falls back on, asked for or by its project's default, and what a code has gone to in the end.

use std::time::Duration;

pub(crate) use common::otp::chain::went_to_target_alone;
use common::otp::chain::{self, MOST, OwnTarget, Planned, SECONDS};
use common::otp::channel::{Channel, Mode};
use common::otp::ids::VerificationId;
use common::otp::rows::{Dispatch, Verification};
use common::otp::target::{BadTarget, Strictness, Target};
use common::tenancy::Tenant;
use common::vault::VaultError;
use tracing::error;

use crate::core::Api;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::send::{Origin, Send};

/// One entry of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) channel: Channel,
    /// Seconds that what went out before it is given.
    pub(crate) after: u32,
    /// Where that is not the send's target.
    pub(crate) target: Option<Target>,
}

/// The field `fallback` of a send to `target`; `None` leaves it to the project.
pub(crate) fn read(
    fields: &Fields,
    tenant: &Tenant,
    channel: Channel,
    target: &Target,
) -> Result<Option<Vec<Entry>>, ApiError> {
    let Some(entries) = fields.objects("fallback", MOST)? else { return Ok(None) };
    let mut chain = Vec::with_capacity(entries.len());
    for (n, fields) in entries.iter().enumerate() {
        let named = |error: ApiError| error.within(&format!("fallback[{n}]"));
        let entry = read_entry(fields, tenant, target).map_err(named)?;
        let goes_to = |target: &Option<Target>| target.as_ref().map(|target| target.canonical().to_owned());
        let is_same =
            |before: &Entry| before.channel == entry.channel && goes_to(&before.target) == goes_to(&entry.target);
        if (entry.channel == channel && entry.target.is_none()) || chain.iter().any(is_same) {
            return Err(named(ApiError::field(
                "channel must be another one, or have another target, than what goes before",
            )));
        }
        chain.push(entry);
    }
    Ok(Some(chain))
}

fn read_entry(fields: &Fields, tenant: &Tenant, main: &Target) -> Result<Entry, ApiError> {
    let channel: Channel = fields
        .required_text("channel")?
        .parse()
        .map_err(|_| ApiError::field("channel must be one of sms, email, whatsapp"))?;
    let (low, high) = (*SECONDS.start(), *SECONDS.end());
    let after = fields.whole("after", low, high)?.ok_or_else(|| ApiError::field("after is required"))?;
    let target = match fields.text("target")? {
        Some(text) => {
            Some(read_target(fields, tenant, channel, text)?).filter(|own| own.canonical() != main.canonical())
        }
        None if carries(channel, main) => None,
        None => {
            let problem = format!("target is required: {channel} does not go to the target of the send");
            return Err(ApiError::field(problem));
        }
    };
    Ok(Entry { channel, after, target })
}

fn read_target(fields: &Fields, tenant: &Tenant, channel: Channel, text: &str) -> Result<Target, ApiError> {
    let is_sandbox = tenant.mode == Mode::Sandbox;
    let (country, strictness) = (fields.country_code()?, Strictness::Valid { magic: is_sandbox });
    let target = Target::parse(channel, text, country.as_deref(), strictness);
    let target = target
        .and_then(|target| if target.is_magic() && !is_sandbox { Err(BadTarget::MagicInLive) } else { Ok(target) });
    target.map_err(|problem| ApiError::field(problem.to_string()))
}

/// Whether a channel goes to targets of this kind.
fn carries(channel: Channel, target: &Target) -> bool {
    (channel == Channel::Email) != target.is_phone()
}

/// The chain of a send: each entry checked where it was asked for; of the project's default what fits the send. Codes
/// that are checked elsewhere have none by default: nobody tells when they have been used.
pub(crate) fn of(api: &Api, tenant: &Tenant, send: &Send) -> Result<Vec<Entry>, ApiError> {
    let settings = &tenant.project.settings;
    let life = Duration::from_secs(send.ttl.unwrap_or(settings.ttl).into());
    let has_provider = |channel| tenant.mode == Mode::Sandbox || api.parts.live_channels.contains(&channel);
    let mut total = Duration::ZERO;
    let mut is_in_time = |after: u32| {
        let at = total + Duration::from_secs(after.into());
        let fits = chain::is_in_time(at, life);
        if fits {
            total = at;
        }
        fits
    };
    let Some(asked) = &send.fallback else {
        let is_relayed = matches!(send.origin, Origin::Relayed(_));
        let steps = settings.fallback.iter().filter(|_| !is_relayed);
        let fitting = steps.filter(|step| {
            step.channel != send.channel
                && carries(step.channel, &send.target)
                && has_provider(step.channel)
                && is_in_time(step.after)
        });
        return Ok(fitting.map(|step| Entry { channel: step.channel, after: step.after, target: None }).collect());
    };
    for (n, entry) in asked.iter().enumerate() {
        if !is_in_time(entry.after) {
            let seconds = life.as_secs();
            let problem =
                format!("fallback[{n}] would go out when a code that lives {seconds} s is of no use any more");
            return Err(ApiError::field(problem));
        }
        if let Some(target) = entry.target.as_ref().filter(|target| !settings.reaches(target)) {
            let country = target.country().unwrap_or_default();
            let problem = format!("fallback[{n}].target is in {country}, where this project does not send");
            return Err(ApiError::field(problem));
        }
    }
    match asked.iter().find(|entry| !has_provider(entry.channel)) {
        Some(entry) => Err(ApiError::no_provider(entry.channel.as_str())),
        None => Ok(asked.clone()),
    }
}

/// The chain as it is kept, its targets sealed as those of the verification `id` are.
pub(crate) async fn planned(
    api: &Api,
    tenant: &Tenant,
    id: VerificationId,
    chain: &[Entry],
) -> Result<Vec<Planned>, VaultError> {
    let mut planned = Vec::with_capacity(chain.len());
    for entry in chain {
        let mut target = None;
        if let Some(own) = &entry.target {
            let day = api.parts.vault.day_key(tenant.id(), id).await?;
            let sealed = day.seal_target(id, own.delivered())?;
            target = Some(OwnTarget { sealed, sealed_as: id, country: own.country().map(str::to_owned) });
        }
        planned.push(Planned { channel: entry.channel, after: Duration::from_secs(entry.after.into()), target });
    }
    Ok(planned)
}

/// What makes two requests the same, of their chains: nothing where none was asked for.
pub(crate) fn fingerprint(asked: Option<&[Entry]>) -> Option<String> {
    let part = |entry: &Entry| {
        let target = entry.target.as_ref().map_or("", Target::canonical);
        format!("{} {} {target}\n", entry.channel, entry.after)
    };
    asked.map(|chain| chain.iter().map(part).collect())
}

/// How a code went, as far as one channel can say it: one by which it is known to have arrived, else the last one.
pub(crate) fn channel(verification: &Verification, dispatches: &[Dispatch]) -> Channel {
    let gone = chain::gone(dispatches);
    let best = gone.iter().max_by_key(|dispatch| (dispatch.delivered.is_some(), dispatch.id.n));
    best.map_or(verification.channel, |dispatch| dispatch.channel)
}

/// All channels that a code may have gone by, each once, in the order of the first use.
pub(crate) fn channels(dispatches: &[Dispatch]) -> Vec<Channel> {
    let mut channels = Vec::new();
    for dispatch in chain::gone(dispatches) {
        if !channels.contains(&dispatch.channel) {
            channels.push(dispatch.channel);
        }
    }
    channels
}

/// The own target of a dispatch; `None` where that cannot be read any more.
pub(crate) async fn open(api: &Api, tenant: &Tenant, own: &OwnTarget) -> Result<Option<Target>, VaultError> {
    api.parts.vault.open_target(tenant.id(), own.sealed_as, &own.sealed, own.country.clone()).await
}

/// What a code may have gone to, each pair of channel and target once: a target in canonical form, or `None` where it
/// cannot be read. Its guess is settled, so that must not fail.
pub(crate) async fn sent_to(
    api: &Api,
    tenant: &Tenant,
    asked: &Target,
    dispatches: &[Dispatch],
) -> Vec<(Channel, Option<String>)> {
    let mut sent_to = Vec::new();
    for dispatch in chain::gone(dispatches) {
        let target = match &dispatch.target {
            None => Some(asked.canonical().to_owned()),
            Some(own) => {
                let opened = open(api, tenant, own).await.unwrap_or_else(|error| {
                    error!(otp.dispatch = %dispatch.id, %error, "a target cannot be read");
                    None
                });
                opened.and_then(|target| Some(Target::guess(target.delivered(), None).ok()?.canonical().to_owned()))
            }
        };
        if !sent_to.contains(&(dispatch.channel, target.clone())) {
            sent_to.push((dispatch.channel, target));
        }
    }
    sent_to
}
