//! Codes, targets and signatures of the naive system: keyed hashes, AES-256-GCM, HMAC. Fixed keys protect nothing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::RngExt;

use crate::failure::Outcome;
use crate::stub::SECRET;

const SEALING: [u8; 32] = [1; 32];
const HASHING: [u8; 32] = [2; 32];
const NONCE: usize = 12;

pub(super) struct Secrets {
    sealing: RandomizedNonceKey,
    signing: hmac::Key,
}

impl Secrets {
    pub(super) fn new() -> Outcome<Self> {
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, &SEALING).map_err(|_| "no key to seal with")?;
        let secret = BASE64_STANDARD.decode(SECRET.trim_start_matches("whsec_"))?;
        Ok(Self { sealing, signing: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    pub(super) fn code() -> String {
        format!("{:06}", rand::rng().random_range(0..1_000_000_u32))
    }

    /// Nonce, ciphertext and tag.
    pub(super) fn seal(&self, text: &str) -> Outcome<Vec<u8>> {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self.sealing.seal_in_place_append_tag(Aad::empty(), &mut sealed).map_err(|_| "not sealed")?;
        Ok([&nonce.as_ref()[..], &sealed].concat())
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Outcome<String> {
        let (nonce, text) = sealed.split_at_checked(NONCE).ok_or("nothing sealed")?;
        let mut text = text.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| "no nonce")?;
        let opened = self.sealing.open_in_place(nonce, Aad::empty(), &mut text).map_err(|_| "not ours")?;
        Ok(String::from_utf8(opened.to_vec())?)
    }

    /// Standard Webhooks.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.signing);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    }
}

/// A keyed hash over parts, each with its length before it.
pub(super) fn hash(parts: &[&str]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_keyed(&HASHING);
    for part in parts {
        hasher.update(&part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_nothing_else() {
        let secrets = Secrets::new().expect("secrets");
        let mut sealed = secrets.seal("+4915112345678").expect("sealed");
        assert_eq!(secrets.open(&sealed).expect("opened"), "+4915112345678");
        sealed[NONCE] ^= 1;
        assert!(secrets.open(&sealed).is_err());
    }
}
