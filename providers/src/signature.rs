//! What the signatures of several vendors have in common: HMAC-SHA256, bytes in hexadecimal, and how old one may be.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use common::otp::time::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::standard_webhooks::TOLERANCE;

/// Whether the tag is the key's over these bytes. Compares in constant time.
pub(crate) fn fits(key: &SecretString, signed: &[u8], tag: &[u8]) -> bool {
    let key = hmac::Key::new(HMAC_SHA256, key.expose_secret().as_bytes());
    hmac::verify(&key, signed, tag).is_ok()
}

/// Whether a time in whole seconds is now, give or take five minutes: what is older may be somebody's recording.
pub(crate) fn is_recent(seconds: &str, now: Timestamp) -> bool {
    let said = seconds.trim().parse::<u32>().map(|seconds| Timestamp::from_ms(i64::from(seconds) * 1000));
    said.is_ok_and(|said| said.since(now).max(now.since(said)) <= TOLERANCE)
}

/// Bytes written in hexadecimal, of either case.
pub(crate) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// Lower case.
pub(crate) fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_fits_its_key_and_its_bytes_alone() {
        let key = SecretString::from("app_secret");
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        let tag = decode_hex("c236c758c9b2bd40b388a550eeca09eaca72384dd0aa5e7c31d19cddac5bba46").expect("hexadecimal");
        assert!(fits(&key, body, &tag));
        assert!(!fits(&key, &body[1..], &tag) && !fits(&SecretString::from("other"), body, &tag));
        assert!(!fits(&key, body, &tag[..16]) && !fits(&key, body, b""));
    }

    #[test]
    fn what_is_old_or_to_come_is_not_recent() {
        let now = Timestamp::from_ms(1_600_112_502_000);
        assert!(is_recent("1600112502", now) && is_recent("1600112202", now) && is_recent("1600112802", now));
        for other in ["1600112201", "1600112803", "-1", "", "1600112502.5", "99999999999999999999"] {
            assert!(!is_recent(other, now), "{other}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "\\PC{0,9}") {
            let encoded = encode_hex(&bytes);
            prop_assert_eq!(decode_hex(&encoded.to_ascii_uppercase()), Some(bytes));
            prop_assert!(decode_hex(&[&encoded, "0"].concat()).is_none());
            let _ = decode_hex(&text);
        }
    }
}
