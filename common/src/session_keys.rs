//! The life of a key that signs tokens: it is published before it signs, signs until the next one does, and is then
//! published for as long as its tokens may live. Pure but for the making of a key.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::keys::{KeyError, Keyring};
use crate::otp::time::Timestamp;
use crate::store::sessions::SessionKey;

/// How long a key is published before it signs, so that whoever keeps the published set for so long has it by then.
pub const ANNOUNCED: Duration = Duration::from_secs(10 * 60);
/// How long a key is published after another has begun to sign: access tokens live 15 minutes and proofs 5, and the
/// rest is for processes that hear of it late.
pub const RETIRING: Duration = Duration::from_secs(20 * 60);
/// Hexadecimal digits of a key's name.
const KID_LEN: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and signs later.
    Coming,
    Signing,
    /// Published for the tokens that it has signed.
    Retiring,
    Retired,
    /// Void: whatever it has signed is refused.
    Revoked,
}

impl KeyState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coming => "coming",
            Self::Signing => "signing",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether tokens that it has signed are to be believed.
    #[must_use]
    pub const fn is_published(self) -> bool {
        matches!(self, Self::Coming | Self::Signing | Self::Retiring)
    }
}

/// A new Ed25519 key that signs from `signs_from` on, its private half sealed under the newest root.
///
/// # Errors
/// When the key cannot be made or sealed.
pub fn generate(keys: &Keyring, signs_from: Timestamp, now: Timestamp) -> Result<SessionKey, KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::CannotMake)?;
    let secret = pair.to_pkcs8().map_err(|_| KeyError::CannotMake)?;
    let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| KeyError::CannotMake)?;
    let kid = blake3::hash(&public).to_hex()[..KID_LEN].to_owned();
    let sealed = keys.seal(&context(&kid), secret.as_ref())?;
    Ok(SessionKey { kid, sealed, public, created: now, signs_from, revoked: None })
}

/// The private key, as PKCS#8.
///
/// # Errors
/// When its root is not listed any more, or what is kept is not its own.
pub fn open(keys: &Keyring, key: &SessionKey) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    keys.open(&context(&key.kid), &key.sealed)
}

fn context(kid: &str) -> Vec<u8> {
    [b"session key ", kid.as_bytes()].concat()
}

/// What the key `kid` is good for at `now`; one that is not among `all` counts as retired.
#[must_use]
pub fn state(all: &[SessionKey], kid: &str, now: Timestamp) -> KeyState {
    let Some(key) = all.iter().find(|key| key.kid == kid) else { return KeyState::Retired };
    if key.revoked.is_some() {
        return KeyState::Revoked;
    }
    if key.signs_from > now {
        return KeyState::Coming;
    }
    let successor = due(all, now).filter(|other| order(other) > order(key)).min_by_key(|other| order(other));
    match successor {
        None => KeyState::Signing,
        Some(successor) if now < successor.signs_from + RETIRING => KeyState::Retiring,
        Some(_) => KeyState::Retired,
    }
}

/// The key that signs at `now`, if there is one.
#[must_use]
pub fn signing(all: &[SessionKey], now: Timestamp) -> Option<&SessionKey> {
    due(all, now).max_by_key(|key| order(key))
}

/// The keys whose tokens are believed at `now`, and those that sign soon.
#[must_use]
pub fn published(all: &[SessionKey], now: Timestamp) -> Vec<&SessionKey> {
    all.iter().filter(|key| state(all, &key.kid, now).is_published()).collect()
}

/// The keys that have begun to sign and are not void.
fn due(all: &[SessionKey], now: Timestamp) -> impl Iterator<Item = &SessionKey> {
    all.iter().filter(move |key| key.revoked.is_none() && key.signs_from <= now)
}

/// Of two keys the greater one signs.
fn order(key: &SessionKey) -> (Timestamp, &str) {
    (key.signs_from, &key.kid)
}

#[cfg(test)]
mod tests {
    use super::KeyState::{Coming, Retired, Retiring, Revoked, Signing};
    use super::*;
    use crate::otp::rows::Sealed;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use proptest::prelude::*;
    use secrecy::SecretString;

    fn ring(byte: &str) -> Keyring {
        Keyring::new(&SecretString::from(byte.repeat(32)), &[]).expect("a root key")
    }

    fn minute(minutes: i64) -> Timestamp {
        Timestamp::from_ms(minutes * 60_000)
    }

    fn key(kid: &str, signs_from: i64, is_revoked: bool) -> SessionKey {
        SessionKey {
            kid: kid.to_owned(),
            sealed: Sealed(Vec::new()),
            public: [0; 32],
            created: minute(0),
            signs_from: minute(signs_from),
            revoked: is_revoked.then(|| minute(0)),
        }
    }

    #[test]
    fn a_new_key_signs_once_it_is_opened() {
        let ring = ring("07");
        let made = generate(&ring, minute(10), minute(0)).expect("a key");
        assert_eq!((made.kid.len(), made.signs_from, made.created), (16, minute(10), minute(0)));
        let secret = open(&ring, &made).expect("opened");
        let signature = Ed25519KeyPair::from_pkcs8(&secret).expect("PKCS#8").sign(b"token");
        UnparsedPublicKey::new(&ED25519, made.public).verify(b"token", signature.as_ref()).expect("its signature");
        assert!(!made.sealed.0.windows(8).any(|part| secret.windows(8).any(|plain| plain == part)));
        assert_eq!(format!("{made:?}"), format!("SessionKey({})", made.kid));
    }

    #[test]
    fn a_key_opens_under_its_own_name_and_root_alone() {
        let made = generate(&ring("07"), minute(0), minute(0)).expect("a key");
        let renamed = SessionKey { kid: "0".repeat(16), ..made.clone() };
        assert!(open(&ring("07"), &renamed).is_err());
        assert!(open(&ring("08"), &made).is_err());
    }

    #[track_caller]
    fn check(all: &[SessionKey], now: i64, expected: &[KeyState]) {
        let found: Vec<_> = all.iter().map(|key| state(all, &key.kid, minute(now))).collect();
        assert_eq!(found, expected, "at minute {now}");
    }

    #[test]
    fn a_key_comes_signs_retires_and_is_gone() {
        let all = [key("a", 0, false), key("b", 10, false)];
        check(&all, -1, &[Coming, Coming]);
        check(&all, 0, &[Signing, Coming]);
        check(&all, 9, &[Signing, Coming]);
        check(&all, 10, &[Retiring, Signing]);
        check(&all, 29, &[Retiring, Signing]);
        check(&all, 30, &[Retired, Signing]);
        assert_eq!(state(&all, "unknown", minute(10)), Retired);
    }

    #[test]
    fn a_key_retires_by_the_one_that_came_next() {
        check(&[key("a", 0, false), key("b", 10, false), key("c", 25, false)], 30, &[Retired, Retiring, Signing]);
    }

    #[test]
    fn a_key_that_signs_at_once_lets_one_that_is_coming_come() {
        let all = [key("a", 0, false), key("b", 10, false), key("c", 5, false)];
        check(&all, 5, &[Retiring, Coming, Signing]);
        check(&all, 10, &[Retiring, Signing, Retiring]);
    }

    #[test]
    fn of_keys_of_one_moment_the_greater_name_signs() {
        check(&[key("b", 0, false), key("a", 0, false)], 0, &[Signing, Retiring]);
    }

    #[test]
    fn void_keys_neither_sign_nor_succeed() {
        let all = [key("a", 0, false), key("b", 1, true), key("c", 2, true)];
        check(&all, 60, &[Signing, Revoked, Revoked]);
        assert!(signing(&all[1..], minute(60)).is_none());
        let names: Vec<_> = published(&all, minute(60)).iter().map(|key| key.kid.as_str()).collect();
        assert_eq!(names, ["a"]);
    }

    fn some_keys() -> impl Strategy<Value = Vec<SessionKey>> {
        prop::collection::vec((0..100_i64, any::<bool>()), 0..8).prop_map(|keys| {
            let named = keys.iter().enumerate();
            named
                .map(|(n, (signs_from, is_revoked))| key(&format!("{:x}", n * 7 % 16), *signs_from, *is_revoked))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn exactly_one_signs_once_any_may(all in some_keys(), now in 0..120_i64) {
            let states: Vec<_> = all.iter().map(|key| state(&all, &key.kid, minute(now))).collect();
            let may_sign = all.iter().any(|key| key.revoked.is_none() && key.signs_from <= minute(now));
            let signs = states.iter().filter(|state| **state == Signing).count();
            prop_assert_eq!(signs, usize::from(may_sign));
            let named = signing(&all, minute(now)).map(|key| state(&all, &key.kid, minute(now)));
            prop_assert_eq!(named, may_sign.then_some(Signing));
        }

        #[test]
        fn whatever_may_have_signed_a_living_token_is_published(all in some_keys(), now in 0..120_i64, age in 0..20_i64) {
            if let Some(key) = signing(&all, minute(now - age)) {
                prop_assert!(published(&all, minute(now)).contains(&key));
            }
        }
    }
}
