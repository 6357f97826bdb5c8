//! The code itself: made uniformly, shown to nobody.

use std::fmt;

use rand::{CryptoRng, RngExt};
use zeroize::Zeroize;

pub const MIN_LENGTH: u8 = 4;
pub const MAX_LENGTH: u8 = 10;

/// A one-time code: 4 to 10 decimal digits, leading zeros kept. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 4 to 10 digits")]
pub struct NotACode;

impl Code {
    /// Draws every digit uniformly and on its own, so all 10^length codes are equally likely (RFC 4226, section 5.3
    /// truncates instead and is slightly biased).
    #[must_use]
    pub fn generate(random: &mut impl CryptoRng, length: u8) -> Self {
        let length = length.clamp(MIN_LENGTH, MAX_LENGTH);
        Self((0..length).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect())
    }

    /// # Errors
    /// When the text is not 4 to 10 ASCII digits.
    pub fn parse(text: &str) -> Result<Self, NotACode> {
        let length_fits = (usize::from(MIN_LENGTH)..=usize::from(MAX_LENGTH)).contains(&text.len());
        if length_fits && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotACode)
        }
    }

    /// The digits, for hashing, sealing and the message. Never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_equally_likely_in_every_place() {
        let mut random = rand::rng();
        let mut counts = [[0_u32; 10]; 6];
        for _ in 0..60_000 {
            for (place, digit) in Code::generate(&mut random, 6).reveal().bytes().enumerate() {
                counts[place][usize::from(digit - b'0')] += 1;
            }
        }
        // Chi-square with 9 degrees of freedom: 45 is passed once in a million runs for each place.
        for place in counts {
            let chi: f64 = place.iter().map(|n| (f64::from(*n) - 6000.0).powi(2) / 6000.0).sum();
            assert!(chi < 45.0, "chi-square {chi} for {place:?}");
        }
    }

    #[test]
    fn codes_keep_leading_zeros_and_hide_themselves() {
        let code = Code::parse("000123").expect("digits");
        assert_eq!(code.reveal(), "000123");
        assert!(!format!("{code:?} {code}").contains("123"));
    }

    #[test]
    fn only_four_to_ten_ascii_digits_are_codes() {
        for text in ["", "123", "12345678901", "12a456", "١٢٣٤٥٦", " 12345"] {
            assert_eq!(Code::parse(text), Err(NotACode), "{text:?}");
        }
    }
}
