//! What the checks of vendors have in common: how an answer to a harmless question becomes a `Check`.

use common::otp::provider_error::{Cause, Misconfiguration};

use crate::{Check, excerpt};

/// Nothing answers.
pub(crate) fn away() -> Check {
    Check { reachable: Some(false), ..Check::default() }
}

/// It answered with a refusal; only what the operator can mend is a problem, the rest is its own trouble.
pub(crate) fn refused(cause: &Cause, words: &str) -> Check {
    let (problem, trouble) = match cause {
        Cause::Misconfigured(what) => (Some((*what, excerpt(words))), None),
        cause => (None, Some((cause.clone(), excerpt(words)))),
    };
    let credentials = matches!(problem, Some((Misconfiguration::Credentials, _))).then_some(false);
    Check { reachable: Some(true), credentials, problem, trouble, ..Check::default() }
}

/// It knows the credentials. The money is its amount, if that is a number, and as the vendor words it; where the vendor
/// gives credit, nothing left is no problem.
pub(crate) fn welcome(money: Option<(Option<f64>, String)>, has_credit: bool) -> Check {
    let is_spent = matches!(money, Some((Some(amount), _)) if amount <= 0.0) && !has_credit;
    Check {
        reachable: Some(true),
        credentials: Some(true),
        balance: money.map(|(_, shown)| excerpt(&shown)),
        problem: is_spent.then(|| (Misconfiguration::Balance, "the balance is spent".to_owned())),
        ..Check::default()
    }
}

/// The same from a vendor that says something of the sender, and perhaps something that is wrong with it.
pub(crate) fn welcome_from(sender: Option<String>, problem: Option<String>) -> Check {
    let problem = problem.map(|words| (Misconfiguration::Sender, excerpt(&words)));
    let sender = sender.filter(|sender| !sender.is_empty()).map(|sender| excerpt(&sender));
    Check { sender, problem, ..welcome(None, false) }
}

/// The first number in what a vendor says of money: `KES 1,785.50`, `0,00 €`, `-3`.
pub(crate) fn amount(words: &str) -> Option<f64> {
    let start = words.find(|c: char| c.is_ascii_digit())?;
    let is_negative = words[..start].ends_with('-');
    let rest = &words[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(rest.len());
    let number = rest[..end].trim_end_matches(['.', ',']);
    let plain = match (number.rfind('.'), number.rfind(',')) {
        (Some(dot), Some(comma)) if comma > dot => number.replace('.', "").replace(',', "."),
        (None, Some(comma)) if number.len() - comma - 1 != 3 => number.replace(',', "."),
        _ => number.replace(',', ""),
    };
    let amount: f64 = plain.parse().ok()?;
    Some(if is_negative { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_whatever_stands_around_it() {
        for (words, expected) in [
            ("0.00 USD", Some(0.0)),
            ("$0.00", Some(0.0)),
            ("KES 1,785.50", Some(1785.5)),
            ("1.785,50 €", Some(1785.5)),
            ("0,00", Some(0.0)),
            ("12,000", Some(12_000.0)),
            ("-3 EUR", Some(-3.0)),
            ("193 of 200 left in 24 h", Some(193.0)),
            ("1.2.3", None),
            ("NaN", None),
            ("", None),
        ] {
            assert_eq!(amount(words), expected, "{words}");
        }
    }
}
