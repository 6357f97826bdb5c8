//! The parameters of the Twilio door, each mistake named after its own. Those that otpd has no use for are ignored.

use common::otp::channel::{Channel, Mode};
use common::otp::code::Code;
use common::otp::ids::VerificationId;
use common::otp::target::{BadTarget, Strictness, Target};
use common::tenancy::Tenant;

use super::errors::{country, invalid, own_code};
use super::render::parse_sid;
use crate::error::ApiError;
use crate::extract::FormBody;
use crate::fields::is_language_tag;
use crate::send::{Origin, Send};

/// Seconds that a code lives: Twilio's 10 minutes.
const LIFE: u32 = 600;

pub(super) fn read_send(tenant: &Tenant, fields: &FormBody) -> Result<Send, ApiError> {
    let to = required(fields, "To")?;
    let channel = required(fields, "Channel")?;
    let channel: Channel = channel.parse().map_err(|_| invalid("Channel", "must be one of sms, whatsapp, email"))?;
    let target = target_to_send(tenant, channel, to)?;
    let locale = fields.get("Locale");
    if locale.is_some_and(|tag| !is_language_tag(tag)) {
        return Err(invalid("Locale", "must be a BCP 47 tag such as en or pt-BR"));
    }
    let client_ip = fields.get("DeviceIp").map(|text| text.trim().parse());
    Ok(Send {
        locale: locale.map(str::to_owned),
        ttl: Some(LIFE),
        client_ip: client_ip.transpose().map_err(|_| invalid("DeviceIp", "must be an IP address"))?,
        origin: origin(tenant, fields)?,
        ..Send::new(target, channel)
    })
}

fn target_to_send(tenant: &Tenant, channel: Channel, to: &str) -> Result<Target, ApiError> {
    let is_sandbox = tenant.mode == Mode::Sandbox;
    let strictness = Strictness::Valid { magic: is_sandbox };
    let target = Target::parse(channel, to, None, strictness).map_err(bad_target)?;
    if target.is_magic() {
        return if is_sandbox { Ok(target) } else { Err(bad_target(BadTarget::MagicInLive)) };
    }
    // The core would say so too, but not in this door's words.
    match target.country().filter(|place| !tenant.project.settings.allows_country(place)) {
        Some(place) => Err(country(place)),
        None => Ok(target),
    }
}

fn bad_target(problem: BadTarget) -> ApiError {
    invalid(
        "To",
        match problem {
            BadTarget::Email => "must be an e-mail address",
            BadTarget::MagicInLive => "is a sandbox target and needs sandbox credentials",
            _ => "must be a valid phone number in E.164 form, with its + and calling code",
        },
    )
}

/// A code of the caller's own, from credentials that may bring one.
fn origin(tenant: &Tenant, fields: &FormBody) -> Result<Origin, ApiError> {
    match fields.get("CustomCode") {
        None => Ok(Origin::Ours),
        Some(_) if !tenant.own_codes => Err(own_code()),
        Some(_) => code(fields, "CustomCode").map(Origin::Own),
    }
}

/// What an update makes of a verification.
#[derive(Debug, Clone, Copy)]
pub(super) enum Closing {
    Cancel,
    Approve,
}

pub(super) fn read_closing(fields: &FormBody) -> Result<Closing, ApiError> {
    match required(fields, "Status")? {
        "canceled" => Ok(Closing::Cancel),
        "approved" => Ok(Closing::Approve),
        _ => Err(invalid("Status", "must be canceled or approved")),
    }
}

/// A guess, and at what.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) code: Code,
    pub(super) subject: Subject,
}

#[derive(Debug)]
pub(super) enum Subject {
    Target(Target),
    /// By sid, and what its code went to where that is said too.
    Id(VerificationId, Option<Target>),
}

pub(super) fn read_check(fields: &FormBody) -> Result<Check, ApiError> {
    let target = fields.get("To").map(|to| Target::guess(to, None)).transpose().map_err(bad_target)?;
    let sid = fields
        .get("VerificationSid")
        .map(|sid| parse_sid(sid).ok_or_else(|| invalid("VerificationSid", "must be VE and 32 hexadecimal digits")));
    let subject = match (sid.transpose()?, target) {
        (Some(id), target) => Subject::Id(id, target),
        (None, Some(target)) => Subject::Target(target),
        (None, None) => return Err(invalid("To", "it or `VerificationSid` is required")),
    };
    Ok(Check { code: code(fields, "Code")?, subject })
}

fn code(fields: &FormBody, name: &str) -> Result<Code, ApiError> {
    Code::parse(required(fields, name)?.trim()).map_err(|problem| invalid(name, &problem.to_string()))
}

fn required<'a>(fields: &'a FormBody, name: &str) -> Result<&'a str, ApiError> {
    fields.get(name).ok_or_else(|| invalid(name, "is required"))
}
