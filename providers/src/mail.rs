//! What vendors of e-mail have in common: who a message is from, whom it goes to, its subject and its mark as automatic.

use common::otp::channel::Channel;
use common::otp::finish::Failure;
use common::otp::ids::AttemptId;
use common::otp::provider_error::Cause;
use common::otp::target::{Strictness, Target};
use lettre::Address;
use lettre::message::Mailbox;

use crate::Message;
use crate::settings::Settings;
use crate::words::failure;

/// RFC 3834: whoever is away answers no such message.
pub(crate) const AUTO_SUBMITTED: (&str, &str) = ("Auto-Submitted", "auto-generated");

/// What means something in a list of addresses. Quoted it may stand in one, and some vendors take lists.
const SPECIAL: [char; 10] = ['"', ',', ';', ':', '<', '>', '(', ')', '\\', ' '];

/// The setting `from`.
pub(crate) fn sender(settings: &mut Settings<'_>, variable: &str) -> Option<Mailbox> {
    let Some(text) = settings.text("from") else {
        settings.problem("from", format_args!("set it ({variable}) to the address that messages come from"));
        return None;
    };
    let sender = text.parse().ok();
    if sender.is_none() {
        settings.problem("from", "must be an address such as: Shop <otp@example.com>");
    }
    sender
}

/// Whom a message goes to, in a form that no vendor can take for more than one address.
pub(crate) fn recipient(message: &Message) -> Result<String, Failure> {
    let address = address(message);
    let is_one = address.parse::<Address>().is_ok() && !address.contains(SPECIAL);
    is_one.then_some(address).ok_or_else(|| failure(message, Cause::Rejected, "the address cannot be mailed to"))
}

/// As it was written, with its domain in the form that every server takes.
pub(crate) fn address(message: &Message) -> String {
    let written = message.target.delivered();
    let read = Target::parse(Channel::Email, written, None, Strictness::Canonical).ok();
    let canonical = read.as_ref().and_then(|target| target.canonical().rsplit_once('@'));
    match (written.rsplit_once('@'), canonical) {
        (Some((local, _)), Some((_, domain))) => format!("{local}@{domain}"),
        _ => written.to_owned(),
    }
}

/// In one line, as it becomes a header.
pub(crate) fn subject(message: &Message) -> String {
    let subject = message.content.subject.as_ref().unwrap_or(&message.project_name);
    subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The attempt in the letters that vendors take in tags. A colon is none of them.
pub(crate) fn tag(attempt: AttemptId) -> String {
    attempt.to_string().replace(':', "_")
}

pub(crate) fn attempt_of(tag: &str) -> Option<AttemptId> {
    tag.replace('_', ":").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::email_to;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_recipient_is_one_address() {
        assert_eq!(recipient(&email_to("Ann@Bücher.example")).as_deref(), Ok("Ann@xn--bcher-kva.example"));
        for list in ["\"a@b.example,c\"@d.example", "a@b.example,c@d.example", "a@b.example>\r\nBcc: c@d.example"] {
            let mut message = email_to("a@b.example");
            message.target = Target::from_stored(list.to_owned(), None);
            assert_eq!(recipient(&message).expect_err("a list").cause, Cause::Rejected, "{list}");
        }
    }

    #[test]
    fn a_tag_names_its_attempt() {
        let attempt = email_to("a@b.example").attempt;
        let tag = tag(attempt);
        assert!(tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'), "{tag}");
        assert_eq!((attempt_of(&tag), attempt_of("other")), (Some(attempt), None));
    }

    #[test]
    fn the_sender_must_be_an_address() {
        let read = |from: &str| {
            let value = json!({"from": from});
            let mut settings = Settings::new("x", &value);
            let sender = sender(&mut settings, "X_FROM").map(|sender| sender.to_string());
            (sender, settings.finish().len())
        };
        assert_eq!(read("Shop <otp@a.example>"), (Some("Shop <otp@a.example>".to_owned()), 0));
        assert_eq!(read("otp@a.example"), (Some("otp@a.example".to_owned()), 0));
        assert_eq!((read(""), read("nobody")), ((None, 1), (None, 1)));
    }

    proptest! {
        #[test]
        fn no_recipient_breaks_out(written in "\\PC{0,30}@\\PC{0,20}") {
            let mut message = email_to("a@b.example");
            message.target = Target::from_stored(written, None);
            if let Ok(recipient) = recipient(&message) {
                prop_assert_eq!(recipient.matches('@').count(), 1);
                prop_assert!(!recipient.contains(char::is_whitespace) && !recipient.contains(SPECIAL));
            }
        }
    }
}
