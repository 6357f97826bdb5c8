//! What keys look like: otpd's own, and pairs of account SID and auth token as clients of Twilio have them.

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::otp::channel::Mode;
use crate::otp::ids::ProjectId;
use crate::otp::time::Timestamp;
use crate::store::projects::ApiKey;

const PREFIX_LEN: usize = 12;
const SECRET_LEN: usize = 40;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Of an account SID after its `AC`, and of an auth token: 128 bits.
const HEX_LEN: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A key as somebody shows it: what finds its row, and the hash that the row must have.
pub(super) struct Presented {
    pub(super) prefix: String,
    pub(super) hash: blake3::Hash,
}

impl Presented {
    /// `otpd_live_` or `otpd_sandbox_`, 12 characters that find it, `_`, 40 that are secret.
    pub(super) fn key(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("otpd_live_").or_else(|| text.strip_prefix("otpd_sandbox_"))?;
        let (prefix, secret) = rest.split_once('_')?;
        let is_word = |word: &str, len| word.len() == len && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_word(prefix, PREFIX_LEN) && is_word(secret, SECRET_LEN))
            .then(|| Self { prefix: prefix.to_owned(), hash: blake3::hash(text.as_bytes()) })
    }

    /// `AC` and 32 digits that find it, and 32 that are secret.
    pub(super) fn twilio(account_sid: &str, auth_token: &str) -> Option<Self> {
        let is_hex = |word: &str| word.len() == HEX_LEN && word.bytes().all(|byte| HEX.contains(&byte));
        (account_sid.strip_prefix("AC").is_some_and(is_hex) && is_hex(auth_token))
            .then(|| Self { prefix: account_sid.to_owned(), hash: hash_pair(account_sid, auth_token) })
    }
}

fn hash_pair(account_sid: &str, auth_token: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(account_sid.as_bytes()).update(b":").update(auth_token.as_bytes());
    hasher.finalize()
}

/// A new key: the text is shown once, the row keeps its hash.
#[must_use]
pub fn new_key(project: ProjectId, mode: Mode, own_codes: bool, now: Timestamp) -> (SecretString, ApiKey) {
    let prefix = random_word(ALPHABET, PREFIX_LEN);
    let secret = random_word(ALPHABET, SECRET_LEN);
    let text = SecretString::from(format!("otpd_{}_{prefix}_{secret}", mode.as_str()));
    let hash = *blake3::hash(text.expose_secret().as_bytes()).as_bytes();
    let key = ApiKey { id: Uuid::now_v7(), project, mode, own_codes, prefix, hash, created: now, revoked: None };
    (text, key)
}

/// A new account SID, which is no secret, and its auth token, which is shown once.
#[must_use]
pub fn new_twilio_key(
    project: ProjectId,
    mode: Mode,
    own_codes: bool,
    now: Timestamp,
) -> (String, SecretString, ApiKey) {
    let account_sid = format!("AC{}", random_word(HEX, HEX_LEN));
    let auth_token = SecretString::from(random_word(HEX, HEX_LEN));
    let hash = *hash_pair(&account_sid, auth_token.expose_secret()).as_bytes();
    let prefix = account_sid.clone();
    let key = ApiKey { id: Uuid::now_v7(), project, mode, own_codes, prefix, hash, created: now, revoked: None };
    (account_sid, auth_token, key)
}

fn random_word(alphabet: &[u8], length: usize) -> String {
    let mut random = rand::rng();
    (0..length).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenancy::new_project_id;

    const T0: Timestamp = Timestamp::from_ms(0);

    #[test]
    fn a_new_key_is_read_back_and_its_row_holds_no_secret() {
        let (text, row) = new_key(new_project_id(), Mode::Live, false, T0);
        let presented = Presented::key(text.expose_secret()).expect("key");
        assert_eq!(presented.prefix, row.prefix);
        assert_eq!(presented.hash, blake3::Hash::from_bytes(row.hash));
        assert!(!format!("{row:?}").contains(text.expose_secret()));
    }

    #[test]
    fn a_new_pair_is_read_back_and_its_row_holds_no_secret() {
        let (sid, token, row) = new_twilio_key(new_project_id(), Mode::Live, true, T0);
        let presented = Presented::twilio(&sid, token.expose_secret()).expect("a pair");
        assert_eq!((presented.prefix.as_str(), row.prefix.as_str()), (sid.as_str(), sid.as_str()));
        assert_eq!(presented.hash, blake3::Hash::from_bytes(row.hash));
        assert_eq!((sid.len(), token.expose_secret().len()), (34, 32));
        assert!(!format!("{row:?}").contains(token.expose_secret()));
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "otpd_live_", "otpd_live_abc_def", "sk_live_xxxxxxxxxxxx_y"] {
            assert!(Presented::key(text).is_none(), "{text}");
        }
        let (sid, token) = (format!("AC{}", "0a".repeat(16)), "1b".repeat(16));
        assert!(Presented::twilio(&sid, &token).is_some());
        for (sid, token) in [
            ("", ""),
            (sid.as_str(), ""),
            (&sid[2..], token.as_str()),
            (&sid.to_uppercase(), &token),
            (&sid, &token.to_uppercase()),
            (&sid, &token[1..]),
            (&sid, &format!("{token}0")),
            (&sid, &"g".repeat(32)),
        ] {
            assert!(Presented::twilio(sid, token).is_none(), "{sid} {token}");
        }
    }
}
