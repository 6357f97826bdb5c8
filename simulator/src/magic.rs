//! Magic targets: what a number's last digits, or an address at a domain `simulator.…`, makes any vendor do. The first
//! eight are the sandbox's; docs/simulator.md has the table.

use std::collections::HashMap;
use std::time::Duration;

use crate::behaviour::{Fate, Refusal, Says};

/// The digits before the last two.
const PREFIX: &str = "000";
const DOMAIN: &str = "simulator.";
const SLOW: Duration = Duration::from_secs(3);
/// Messages to a `fail2` target that fail before one is taken.
const FAILING: u32 = 2;
/// Targets that are counted at once.
const MOST_COUNTED: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Magic {
    Says(Says),
    Fate(Fate),
    Slow,
    Fail2,
}

const MAGIC: [(&str, &str, Magic); 12] = [
    ("rejected", "01", Magic::Says(Says::No(Refusal::Rejected))),
    ("throttled", "02", Magic::Says(Says::No(Refusal::Throttled))),
    ("slow", "03", Magic::Slow),
    ("timeout", "04", Magic::Says(Says::Never)),
    ("fail2", "05", Magic::Fail2),
    ("misconfigured", "06", Magic::Says(Says::No(Refusal::Credentials))),
    ("late", "07", Magic::Fate(Fate::Late)),
    ("lost", "08", Magic::Fate(Fate::Lost)),
    ("failed", "09", Magic::Fate(Fate::Failed)),
    ("balance", "10", Magic::Says(Says::No(Refusal::Balance))),
    ("sender", "11", Magic::Says(Says::No(Refusal::Sender))),
    ("mute", "12", Magic::Says(Says::Mute)),
];

/// What is done about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doing {
    pub(crate) answer: Says,
    pub(crate) after: Duration,
    pub(crate) fate: Fate,
}

fn of(target: &str) -> Option<Magic> {
    let target = target.to_ascii_lowercase();
    let (name, digits) = match target.split_once('@') {
        Some((local, domain)) => (domain.starts_with(DOMAIN).then_some(local), None),
        None => (None, target.get(target.len().saturating_sub(2)..).filter(|digits| ends(&target, digits))),
    };
    MAGIC.iter().find(|magic| name == Some(magic.0) || digits == Some(magic.1)).map(|magic| magic.2)
}

fn ends(target: &str, digits: &str) -> bool {
    target.strip_suffix(digits).is_some_and(|rest| rest.ends_with(PREFIX))
}

/// How often the targets that count were asked for.
#[derive(Debug, Default)]
pub(crate) struct Counted(HashMap<String, u32>);

impl Counted {
    /// What a target asks for; where it asks for nothing, what its vendor does anyway.
    pub(crate) fn doing(&mut self, target: &str, fate: Fate) -> Doing {
        let plain = Doing { answer: Says::Yes, after: Duration::ZERO, fate };
        match of(target) {
            None => plain,
            Some(Magic::Says(answer)) => Doing { answer, ..plain },
            Some(Magic::Fate(fate)) => Doing { fate, ..plain },
            Some(Magic::Slow) => Doing { after: SLOW, ..plain },
            Some(Magic::Fail2) if self.fails(target) => Doing { answer: Says::No(Refusal::Unavailable), ..plain },
            Some(Magic::Fail2) => plain,
        }
    }

    fn fails(&mut self, target: &str) -> bool {
        // Vendors write the same number in ways of their own.
        let target = target.trim_start_matches("whatsapp:").trim_start_matches('+').to_ascii_lowercase();
        let failed = self.0.get(&target).copied().unwrap_or(0);
        if failed >= FAILING || self.0.len() >= MOST_COUNTED {
            self.0.remove(&target);
            return false;
        }
        self.0.insert(target, failed + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(targets: [&str; 3], expected: Magic) {
        for target in targets {
            assert_eq!(of(target), Some(expected), "{target}");
        }
    }

    #[test]
    fn numbers_by_their_end_and_addresses_by_their_name() {
        let no = |refusal| Magic::Says(Says::No(refusal));
        check(["+14155500001", "998901000001", "Rejected@Simulator.example"], no(Refusal::Rejected));
        check(["+14155500005", "998901000005", "fail2@simulator.example"], Magic::Fail2);
        check(["+14155500009", "998901000009", "failed@simulator.example"], Magic::Fate(Fate::Failed));
        check(["+14155500010", "998901000010", "balance@simulator.amazonses.com"], no(Refusal::Balance));
        for plain in [
            "+14155552601",
            "+14155510001",
            "+14155500000",
            "+14155500013",
            "ann@simulator.example",
            "01",
            "",
            "rejected@example.com",
            "rejected@other.simulator.example",
        ] {
            assert_eq!(of(plain), None, "{plain}");
        }
    }

    #[test]
    fn the_third_message_to_fail2_is_taken_however_its_number_is_written() {
        let mut counted = Counted::default();
        let mut answer = |target: &str| counted.doing(target, Fate::Delivered).answer;
        let no = Says::No(Refusal::Unavailable);
        assert_eq!([answer("+14155500005"), answer("14155500005"), answer("+14155500005")], [no, no, Says::Yes]);
        assert_eq!(answer("14155500005"), no);
    }
}
