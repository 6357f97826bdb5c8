//! Standard Webhooks 1.0: symmetric signatures over id, timestamp and the exact body.
//!
//! Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use common::otp::time::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub const ID: &str = "webhook-id";
pub const TIMESTAMP: &str = "webhook-timestamp";
pub const SIGNATURE: &str = "webhook-signature";

/// How far a message's timestamp may be from now, either way.
pub const TOLERANCE: Duration = Duration::from_secs(300);

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A shared secret: `whsec_` and 24 to 64 bytes in base64.
pub struct Secret(Key);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)")]
pub struct NotASecret;

/// The message is not from someone who has one of the secrets, or not from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit")]
pub struct Forged;

impl Secret {
    /// # Errors
    /// When it does not have that form.
    pub fn parse(text: &SecretString) -> Result<Self, NotASecret> {
        let encoded = text.expose_secret().trim().strip_prefix(PREFIX).ok_or(NotASecret)?;
        let bytes = Zeroizing::new(LENIENT.decode(encoded).map_err(|_| NotASecret)?);
        if !LENGTHS.contains(&bytes.len()) {
            return Err(NotASecret);
        }
        Ok(Self(Key::new(HMAC_SHA256, &bytes)))
    }

    fn tag(&self, id: &str, timestamp: &str, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        context.sign()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that secrets can be changed one side at a time.
/// `timestamp` is in whole seconds and goes into `webhook-timestamp`.
#[must_use]
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let signatures = secrets.iter().map(|secret| secret.tag(id, &timestamp, body));
    let signatures: Vec<_> = signatures.map(|tag| format!("{VERSION}{}", BASE64_STANDARD.encode(tag))).collect();
    signatures.join(" ")
}

/// The three headers as they came.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub id: &'a str,
    pub timestamp: &'a str,
    pub signature: &'a str,
}

/// Checks that any of the signatures is by any of the secrets, in constant time, and that the message is from now.
///
/// # Errors
/// When it is not, whatever the reason.
pub fn verify(secrets: &[Secret], signed: Signed<'_>, body: &[u8], now: Timestamp) -> Result<(), Forged> {
    let seconds: u32 = signed.timestamp.parse().map_err(|_| Forged)?;
    let said = Timestamp::from_ms(i64::from(seconds) * 1000);
    if signed.id.is_empty() || said.since(now).max(now.since(said)) > TOLERANCE {
        return Err(Forged);
    }
    // The specification separates them by spaces, Supabase by a comma and a space.
    let offered: Vec<Vec<u8>> = signed
        .signature
        .split_ascii_whitespace()
        .filter_map(|signature| signature.trim_end_matches(',').strip_prefix(VERSION))
        .filter_map(|signature| BASE64_STANDARD.decode(signature).ok())
        .collect();
    let fits = secrets.iter().any(|secret| {
        let tag = secret.tag(signed.id, signed.timestamp, body);
        offered.iter().any(|offered| bool::from(offered.as_slice().ct_eq(tag.as_ref())))
    });
    if fits { Ok(()) } else { Err(Forged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The reference libraries' own test vector.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const GOOD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn secret(text: &str) -> Secret {
        Secret::parse(&SecretString::from(text)).expect("secret")
    }

    fn verified(signature: &str, body: &[u8], now_seconds: i64) -> bool {
        let signed = Signed { id: MESSAGE, timestamp: "1614265330", signature };
        verify(&[secret(OTHER), secret(SECRET)], signed, body, Timestamp::from_ms(now_seconds * 1000)).is_ok()
    }

    #[test]
    fn the_published_vector_is_signed_and_verified() {
        assert_eq!(sign(&[secret(SECRET)], MESSAGE, AT, BODY), GOOD);
        assert!(verified(GOOD, BODY, AT));
        assert!(verified(&format!("v1a,xyz v1,AAAA {GOOD}"), BODY, AT));
        assert!(verified(&format!("{GOOD}, v1,AAAA"), BODY, AT) && verified(&format!("v1,AAAA, {GOOD}"), BODY, AT));
    }

    #[test]
    fn several_secrets_make_several_signatures() {
        let signatures = sign(&[secret(OTHER), secret(SECRET)], MESSAGE, AT, BODY);
        assert_eq!(signatures.split(' ').count(), 2);
        assert!(signatures.ends_with(GOOD));
    }

    #[test]
    fn what_is_changed_or_old_is_forged() {
        assert!(!verified(GOOD, b"{\"test\": 2432232315}", AT));
        assert!(!verified("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=", BODY, AT));
        assert!(!verified(GOOD.trim_start_matches("v1,"), BODY, AT));
        assert!(!verified("", BODY, AT));
        assert!(verified(GOOD, BODY, AT + 300) && verified(GOOD, BODY, AT - 300));
        assert!(!verified(GOOD, BODY, AT + 301) && !verified(GOOD, BODY, AT - 301));
        let signed = Signed { id: "", timestamp: "1614265330", signature: GOOD };
        assert_eq!(verify(&[secret(SECRET)], signed, BODY, Timestamp::from_ms(AT * 1000)), Err(Forged));
    }

    #[test]
    fn only_whole_secrets_are_read_and_none_shows_itself() {
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_!!!!"] {
            assert_eq!(Secret::parse(&SecretString::from(bad)).err(), Some(NotASecret), "{bad}");
        }
        assert!(!format!("{:?}", secret(SECRET)).contains("MfK"));
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies(id in "[a-z0-9_:-]{1,40}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let secrets = [secret(SECRET)];
            let signature = sign(&secrets, &id, AT, &body);
            let signed = Signed { id: &id, timestamp: "1614265330", signature: &signature };
            prop_assert!(verify(&secrets, signed, &body, Timestamp::from_ms(AT * 1000)).is_ok());
        }

        #[test]
        fn no_headers_make_it_panic(id in "\\PC{0,20}", timestamp in "-?[0-9]{0,25}", signature in "\\PC{0,80}") {
            let signed = Signed { id: &id, timestamp: &timestamp, signature: &signature };
            prop_assert!(verify(&[secret(SECRET)], signed, BODY, Timestamp::from_ms(0)).is_err());
        }
    }
}
