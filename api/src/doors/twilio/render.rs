//! Replies of the Twilio door. A verification's sid is `VE` and its UUID; a send's is `VL` and what follows from the
//! verification and the send's number.

use aws_lc_rs::digest::{SHA256, digest};
use common::otp::channel::Channel;
use common::otp::ids::{DispatchId, VerificationId};
use common::otp::rows::{Dispatch, State, Verification};
use common::otp::time::Timestamp;
use common::store::records::Timeline;
use uuid::Uuid;

use super::account::Account;
use crate::openapi::twilio::{self as shapes, Lookup, SendCodeAttempt};

/// What Twilio calls the state of a verification, where it still shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Pending,
    MaxAttemptsReached,
    Approved,
    Canceled,
}

impl Status {
    /// `None` for what has ended.
    pub(super) fn of(verification: &Verification, now: Timestamp) -> Option<Self> {
        match verification.state {
            State::Open if now >= verification.expires => None,
            State::Open if verification.guesses_left(now) == 0 => Some(Self::MaxAttemptsReached),
            State::Open => Some(Self::Pending),
            State::Verified | State::Canceled | State::Superseded => None,
        }
    }

    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Approved | Self::Canceled)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::MaxAttemptsReached => "max_attempts_reached",
            Self::Approved => "approved",
            Self::Canceled => "canceled",
        }
    }
}

/// One send of a verification's code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) n: i16,
    pub(super) channel: Channel,
    pub(super) at: Timestamp,
}

/// Every send of a verification, the newest one last.
pub(super) fn sent(found: &Timeline) -> Vec<Sent> {
    let one = |dispatch: &Dispatch| Sent {
        n: dispatch.id.n,
        channel: dispatch.channel,
        // The first send's row is written a moment after the verification was opened: that is no other time.
        at: if dispatch.id.n == 1 { found.verification.id.created() } else { dispatch.begun() },
    };
    found.dispatches.iter().filter(|dispatch| dispatch.has_fired()).map(one).collect()
}

/// The channel that it last went out by.
pub(super) fn newest(found: &Timeline) -> Channel {
    let newest = found.dispatches.iter().find(|dispatch| dispatch.newest);
    newest.map_or(found.verification.channel, |newest| newest.channel)
}

/// A verification as a reply is to show it.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) id: VerificationId,
    /// `None` once it has been forgotten.
    pub(super) to: Option<&'a str>,
    pub(super) status: Status,
    /// At least one.
    pub(super) sent: &'a [Sent],
    /// When it was closed, if so.
    pub(super) closed: Option<Timestamp>,
    pub(super) is_foreign: bool,
}

impl Shown<'_> {
    pub(super) fn verification(&self, account: &Account) -> shapes::Verification {
        let newest = self.sent.last();
        let created = self.id.created();
        let updated = self.closed.or_else(|| newest.map(|sent| sent.at)).unwrap_or(created);
        let (sid, service) = (sid(self.id), account.tenant.id().service_sid());
        let url = format!("{}/v2/Services/{service}/Verifications/{sid}", account.base);
        shapes::Verification {
            sid,
            service_sid: service,
            account_sid: account.sid.clone(),
            to: self.to.map(str::to_owned),
            channel: newest.map_or("", |sent| sent.channel.as_str()),
            status: self.status.as_str(),
            valid: self.status == Status::Approved,
            lookup: Lookup {},
            amount: None,
            payee: None,
            send_code_attempts: self.sent.iter().map(|sent| attempt(self.id, *sent)).collect(),
            date_created: time(created),
            date_updated: time(updated),
            sna: None,
            url,
            mode: self.is_foreign.then_some("sandbox"),
        }
    }
}

/// What became of a guess.
pub(super) fn check(
    account: &Account,
    id: VerificationId,
    status: Status,
    channel: Channel,
    to: &str,
    at: Timestamp,
    is_foreign: bool,
) -> shapes::VerificationCheck {
    shapes::VerificationCheck {
        sid: sid(id),
        service_sid: account.tenant.id().service_sid(),
        account_sid: account.sid.clone(),
        to: to.to_owned(),
        channel: channel.as_str(),
        status: status.as_str(),
        valid: status == Status::Approved,
        amount: None,
        payee: None,
        sna_attempts_error_codes: [],
        date_created: time(id.created()),
        date_updated: time(at),
        mode: is_foreign.then_some("sandbox"),
    }
}

fn attempt(id: VerificationId, sent: Sent) -> SendCodeAttempt {
    SendCodeAttempt {
        time: time(sent.at),
        channel: attempt_channel(sent.channel),
        attempt_sid: attempt_sid(id, sent.n),
    }
}

/// Here Twilio shouts.
const fn attempt_channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Sms => "SMS",
        Channel::Email => "EMAIL",
        Channel::Whatsapp => "whatsapp",
    }
}

fn sid(id: VerificationId) -> String {
    format!("VE{}", id.as_uuid().simple())
}

fn attempt_sid(verification: VerificationId, n: i16) -> String {
    let hash = digest(&SHA256, DispatchId { verification, n }.to_string().as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_ref()[..16]);
    format!("VL{}", Uuid::from_bytes(half).simple())
}

/// `VE` and 32 hexadecimal digits of either case.
pub(super) fn parse_sid(text: &str) -> Option<VerificationId> {
    let hex = text.strip_prefix("VE").filter(|hex| hex.len() == 32)?;
    Uuid::try_parse(hex).ok().map(VerificationId::from_uuid)
}

/// ISO 8601 in whole seconds with `Z`: the one form that the SDK for Python reads as a date.
fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_ms().div_euclid(1000)).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sids_are_read_back_in_either_case() {
        let id = VerificationId::new(Timestamp::from_ms(1_752_402_600_123));
        let sid = sid(id);
        assert_eq!((sid.len(), parse_sid(&sid)), (34, Some(id)));
        assert_eq!(parse_sid(&format!("VE{}", sid[2..].to_uppercase())), Some(id));
        for other in ["", "VE", "VE7", &sid[2..], &sid[..33], &format!("{sid}0"), &sid.to_lowercase(), "VE+14155552671"]
        {
            assert_eq!(parse_sid(other), None, "{other}");
        }
    }

    #[test]
    fn every_send_has_a_sid_of_its_own_for_ever() {
        let id = VerificationId::from_uuid(Uuid::from_u128(7));
        assert_eq!(attempt_sid(id, 1), attempt_sid(id, 1));
        assert_ne!(attempt_sid(id, 1), attempt_sid(id, 2));
        assert_eq!(attempt_sid(id, 1).len(), 34);
    }

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(time(Timestamp::from_ms(1_752_402_600_999)), "2025-07-13T10:30:00Z");
    }
}
