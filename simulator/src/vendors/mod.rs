//! The vendors: what all have in common. One file holds one vendor's wire, from its own documentation.

mod africastalking;
mod eskiz;
mod infobip;
mod mailgun;
mod meta;
mod playmobile;
mod postmark;
mod resend;
mod sendgrid;
mod ses;
mod sigv4;
mod sns;
mod telnyx;
mod twilio;
mod vonage;

use std::fmt;

use common::otp::time::Timestamp;
use serde_json::Value;

use crate::behaviour::Refusal;
use crate::state::Refused;
use crate::wire::{Answer, Asked};

/// A vendor as otpd sees it. It decides nothing about what is to happen, only how that is said.
pub(crate) trait Vendor: fmt::Debug + Send + Sync {
    /// The kind of provider in otpd's settings, and its path here.
    fn name(&self) -> &'static str;

    /// What otpd must be set to, beside a `receipt_secret`, for a vendor at this address.
    fn settings(&self, url: &str) -> Vec<(&'static str, String)>;

    /// For a vendor that does not sign its receipts: what makes their address unguessable.
    fn receipt_secret(&self) -> Option<&'static str> {
        None
    }

    /// Reads a request as strictly as the vendor would; refuses it as the vendor would.
    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer>;

    /// How it says that it has taken a message.
    fn taken(&self, message: &Message) -> Answer;

    /// How it refuses a message that is all right; `None` when it would not say so at once.
    fn refuse(&self, refusal: Refusal, asked: &Asked<'_>) -> Option<Answer>;

    /// How it tells what has become of a message; `None` when it does not.
    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post>;
}

/// What a request turned out to be.
#[derive(Debug)]
pub(crate) enum Read {
    Message(Message),
    /// A question of another kind, and its answer.
    Other(Answer),
}

/// A message that a vendor may take.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The vendor's own name of it.
    pub(crate) id: String,
    pub(crate) channel: &'static str,
    pub(crate) from: String,
    /// As the vendor writes it.
    pub(crate) to: String,
    pub(crate) text: String,
    /// What the sender wants to get back with receipts.
    pub(crate) echo: Value,
    /// Where the sender wants its receipts.
    pub(crate) callback: Option<String>,
    pub(crate) at: Timestamp,
}

/// What has become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Sent,
    Delivered,
    Failed,
}

/// A receipt, ready to go.
#[derive(Debug)]
pub(crate) struct Post {
    /// Where it goes; without one, to the address that was set up for all.
    pub(crate) callback: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

type Make = fn(&str) -> Box<dyn Vendor>;

/// All of them, each made of the simulator's own address.
const VENDORS: &[(&str, Make)] = &[
    ("africastalking", |_| Box::new(africastalking::Africastalking)),
    ("eskiz", |_| Box::new(eskiz::Eskiz)),
    ("infobip", |_| Box::new(infobip::Infobip)),
    ("mailgun", |_| Box::new(mailgun::Mailgun)),
    ("meta", |_| Box::new(meta::Meta)),
    ("playmobile", |_| Box::new(playmobile::PlayMobile)),
    ("postmark", |_| Box::new(postmark::Postmark)),
    ("resend", |_| Box::new(resend::Resend)),
    ("sendgrid", |_| Box::new(sendgrid::Sendgrid::new())),
    ("ses", |url| Box::new(ses::Ses::new(url))),
    ("telnyx", |_| Box::new(telnyx::Telnyx::new())),
    ("twilio", |_| Box::new(twilio::Twilio)),
    ("vonage", |_| Box::new(vonage::Vonage)),
];

/// The vendors of these names, or all.
pub(crate) fn named(names: &[String], url: &str) -> Result<Vec<Box<dyn Vendor>>, Refused> {
    let known: Vec<_> = VENDORS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let words = format!("no vendor {unknown} can be played: there are {}", known.join(", "));
        return Err(Refused::NoSuchVendor(words));
    }
    let wanted = VENDORS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name));
    Ok(wanted.map(|(_, make)| make(url)).collect())
}
