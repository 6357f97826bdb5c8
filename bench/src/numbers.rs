//! Phone numbers that nobody has sent to before: German mobile numbers, counted on from a random one.

use rand::RngExt;

const PREFIX: &[u8] = b"+49151";
const DIGITS: usize = 8;
const ALL: u64 = 100_000_000;

/// The numbers of one database, by their index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    first: u64,
}

impl Numbers {
    pub(crate) fn fresh() -> Self {
        Self { first: rand::rng().random_range(0..ALL) }
    }

    /// Appends the number of this index. They come again after a hundred million.
    pub(crate) fn write(self, index: u64, into: &mut Vec<u8>) {
        into.extend_from_slice(PREFIX);
        let mut rest = (self.first + index) % ALL;
        let mut digits = [b'0'; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
            rest /= 10;
        }
        into.extend_from_slice(&digits);
    }

    pub(crate) fn text(self, index: u64) -> String {
        let mut text = Vec::with_capacity(PREFIX.len() + DIGITS);
        self.write(index, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The index of a number of ours.
    pub(crate) fn index_of(self, number: &[u8]) -> Option<u64> {
        let digits = number.strip_prefix(PREFIX).filter(|digits| digits.len() == DIGITS)?;
        let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some((value + ALL - self.first) % ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_number_is_the_one_it_was_made_of() {
        let numbers = Numbers { first: ALL - 2 };
        for (index, number) in [(0, "+4915199999998"), (1, "+4915199999999"), (2, "+4915100000000")] {
            assert_eq!(numbers.text(index), number);
            assert_eq!(numbers.index_of(number.as_bytes()), Some(index));
        }
        for other in ["+4915", "+49152000000001", "+4915100000o00"] {
            assert_eq!(numbers.index_of(other.as_bytes()), None, "{other}");
        }
    }
}
