//! Refresh tokens: a session's id and generation under a keyed hash. Nothing of them is stored, so a stolen database
//! holds none; a spent one is known by its generation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::keys::Keyring;
use subtle::ConstantTimeEq;
use uuid::Uuid;

const PREFIX: &str = "otpd_refresh_";
const LABEL: &[u8] = b"refresh token";
const LENGTH: usize = 16 + 4 + 32;

/// Which session's which generation a genuine token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RefreshToken {
    pub(super) session: Uuid,
    pub(super) generation: i32,
}

impl RefreshToken {
    /// As its user holds it.
    pub(super) fn write(self, keys: &Keyring) -> String {
        let hash = self.hashes(keys).into_iter().next().unwrap_or_default();
        let bytes = [self.session.as_bytes().as_slice(), &self.generation.to_be_bytes(), &hash].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// `None` for whatever we have not written ourselves, under a root key that is still listed.
    pub(super) fn read(keys: &Keyring, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, hash) = rest.split_first_chunk::<4>()?;
        let token = Self { session: Uuid::from_bytes(*session), generation: i32::from_be_bytes(*generation) };
        token.hashes(keys).iter().any(|known| bool::from(known.as_slice().ct_eq(hash))).then_some(token)
    }

    fn hashes(self, keys: &Keyring) -> Vec<[u8; 32]> {
        keys.hashes(LABEL, &[self.session.as_bytes(), &self.generation.to_be_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn keys(digit: &str) -> Keyring {
        Keyring::new(&SecretString::from(digit.repeat(64)), &[]).expect("a root")
    }

    #[test]
    fn a_token_is_read_back_and_any_change_spoils_it() {
        let token = RefreshToken { session: Uuid::now_v7(), generation: 7 };
        let text = token.write(&keys("1"));
        assert_eq!(RefreshToken::read(&keys("1"), &text), Some(token));
        assert_eq!(RefreshToken::read(&keys("2"), &text), None);
        for place in PREFIX.len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).expect("text");
            assert_eq!(RefreshToken::read(&keys("1"), &other), None, "{place}");
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in ["", PREFIX, "otpd_refresh_AAAA", "otpd_refresh_%", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(RefreshToken::read(&keys("1"), text), None, "{text}");
        }
    }
}
