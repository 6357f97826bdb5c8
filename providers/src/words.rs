//! What a provider says, made fit to be kept: without the code and the target that it may quote.

use common::otp::finish::Failure;
use common::otp::provider_error::Cause;

use crate::{Message, excerpt};

pub(crate) const HIDDEN: &str = "***";
/// Longest message id that is believed; those of all vendors are far shorter.
const LONGEST_ID: usize = 128;

/// A failed attempt with the provider's words, which may quote the message.
pub(crate) fn failure(message: &Message, cause: Cause, words: &str) -> Failure {
    Failure { cause, detail: excerpt(&redacted(message, words)) }
}

/// The words without the target, however it is spelled in them, without the code, and without the secret in the address
/// of receipts.
pub(crate) fn redacted(message: &Message, words: &str) -> String {
    let target = &message.target;
    let (delivered, canonical) = (target.delivered(), target.canonical());
    let digits = delivered.strip_prefix('+').unwrap_or(delivered);
    // Longest first: a code may be a part of the number.
    [receipt_secret(message).unwrap_or_default(), delivered, canonical, digits, message.code.reveal()]
        .into_iter()
        .fold(words.to_owned(), |words, secret| without(&words, secret))
}

/// What the callback's path has after the provider's name.
fn receipt_secret(message: &Message) -> Option<&str> {
    let mut parts = message.callback.as_deref()?.split('?').next()?.rsplit('/');
    let secret = parts.next()?;
    (parts.nth(1)? == "receipts").then_some(secret)
}

/// Words about a message that is not at hand: runs of digits that could be a code or a number go, addresses too.
pub(crate) fn anonymous(words: &str) -> String {
    let words = words.split_whitespace().map(|word| if word.contains('@') { HIDDEN } else { word });
    let mut kept = String::new();
    let mut run = String::new();
    for c in words.collect::<Vec<_>>().join(" ").chars().chain([' ']) {
        if c.is_numeric() {
            run.push(c);
            continue;
        }
        kept.push_str(if run.chars().count() < 4 { &run } else { HIDDEN });
        run.clear();
        kept.push(c);
    }
    excerpt(kept.trim_end())
}

/// A message id, if it is one.
pub(crate) fn message_id(text: &str) -> Option<String> {
    let is_id = !text.is_empty() && text.len() <= LONGEST_ID && !text.contains(char::is_control);
    is_id.then(|| text.to_owned())
}

/// The words without one of our secrets, in whatever case its ASCII letters are.
pub(crate) fn without(words: &str, secret: &str) -> String {
    if secret.is_empty() {
        return words.to_owned();
    }
    let (lower, secret) = (words.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut kept = String::new();
    let mut from = 0;
    for (at, found) in lower.match_indices(&secret) {
        kept.push_str(&words[from..at]);
        kept.push_str(HIDDEN);
        from = at + found.len();
    }
    kept.push_str(&words[from..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{email, sms};
    use proptest::prelude::*;

    #[test]
    fn code_and_target_are_not_kept() {
        let said = "The 'To' number +14155552671 (14155552671): Your code is 482913";
        assert_eq!(redacted(&sms(), said), "The 'To' number *** (***): Your code is ***");
        let said = "550 <ANN@Example.com> unknown";
        assert_eq!(redacted(&email(), said), "550 <***> unknown");
    }

    #[test]
    fn the_secret_of_receipts_is_not_kept() {
        let mut message = sms();
        assert_eq!(receipt_secret(&message), None);
        message.callback = Some("https://otp.example.com/receipts/x/s3cr3t?attempt=1".to_owned());
        let said = "callback_url: https:\\/\\/otp.example.com\\/receipts\\/x\\/s3cr3t?attempt=1 is too long";
        assert!(!failure(&message, Cause::Unavailable, said).detail.contains("s3cr3t"));
    }

    #[test]
    fn words_about_an_unknown_message_lose_what_could_be_a_code() {
        assert_eq!(anonymous("error 503: ann@example.com got 482913"), "error 503: *** got ***");
    }

    proptest! {
        #[test]
        fn no_words_bring_the_code_back(before in "\\PC{0,300}", after in "\\PC{0,300}") {
            let failure = failure(&sms(), Cause::Unavailable, &format!("{before}482913+14155552671{after}"));
            prop_assert!(!failure.detail.contains("482913") && !failure.detail.contains("4155552671"));
            prop_assert!(failure.detail.chars().count() <= crate::LONGEST_DETAIL);
            let _ = anonymous(&before);
        }
    }
}
