//! The key ring: every key is derived from a root key, and older roots are honoured while they are listed.
//!
//! Codes and targets are sealed with AES-256-GCM; hashes and blind indexes are BLAKE3 keyed hashes. A sealed value
//! begins with the id of the root it is under, so roots can be changed without touching rows.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::otp::channel::Mode;
use crate::otp::code::Code;
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::{Index, Indexes, Sealed, Verification};

const KEY_ID_LEN: usize = 4;

/// What a blind index is of; indexes of different kinds never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    Target,
    TargetLimit,
    GuessLimit,
    IpLimit,
    IpGuessLimit,
    Idempotency,
    /// What another system calls a message that it makes and we deliver.
    RelayedMessage,
    /// A record id that has one open verification at most.
    Subject,
    SubjectLimit,
    /// Whose a session is.
    User,
}

impl IndexKind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Target => b"target",
            Self::TargetLimit => b"target limit",
            Self::GuessLimit => b"guess limit",
            Self::IpLimit => b"ip limit",
            Self::IpGuessLimit => b"ip guess limit",
            Self::Idempotency => b"idempotency",
            Self::RelayedMessage => b"relayed message",
            Self::Subject => b"subject",
            Self::SubjectLimit => b"subject limit",
            Self::User => b"user",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("must be 32 bytes in hexadecimal (64 digits); make one with: openssl rand -hex 32")]
    NotARootKey,
    #[error("the value cannot be opened: it was sealed under a key that is not listed, or for something else")]
    CannotOpen,
    #[error("the value cannot be sealed")]
    CannotSeal,
    #[error("a new key cannot be made")]
    CannotMake,
}

/// The newest root's keys and those of the older roots.
pub struct Keyring {
    newest: RootKeys,
    older: Vec<RootKeys>,
}

struct RootKeys {
    id: i32,
    index: [u8; 32],
    code_hash: [u8; 32],
    seal: SealingKey,
}

impl Keyring {
    /// # Errors
    /// When a key is not 64 hexadecimal digits.
    pub fn new(root: &SecretString, previous: &[SecretString]) -> Result<Self, KeyError> {
        let older = previous.iter().map(RootKeys::derive).collect::<Result<_, _>>()?;
        Ok(Self { newest: RootKeys::derive(root)?, older })
    }

    fn all(&self) -> impl Iterator<Item = &RootKeys> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    fn by_id(&self, id: i32) -> Option<&RootKeys> {
        self.all().find(|keys| keys.id == id)
    }

    /// The id of the root that new rows are under.
    #[must_use]
    pub const fn newest_id(&self) -> i32 {
        self.newest.id
    }

    /// Blind indexes of `parts` in their order, under every root.
    #[must_use]
    pub fn indexes(&self, kind: IndexKind, parts: &[&[u8]]) -> Indexes {
        let index = |keys: &RootKeys| blind_index(&keys.index, kind.label(), parts);
        Indexes { newest: index(&self.newest), older: self.older.iter().map(index).collect() }
    }

    /// Under which the sends to a target are counted.
    #[must_use]
    pub fn target_limit(&self, project: ProjectId, mode: Mode, canonical: &str) -> Indexes {
        let project = project.as_uuid();
        self.indexes(IndexKind::TargetLimit, &[project.as_bytes(), mode.as_str().as_bytes(), canonical.as_bytes()])
    }

    /// Hashes of `parts` in their order, under every root, newest first: what one may keep of something guessable.
    #[must_use]
    pub fn hashes(&self, label: &[u8], parts: &[&[u8]]) -> Vec<[u8; 32]> {
        self.all().map(|keys| *keyed_hasher(&keys.index, label, parts).finalize().as_bytes()).collect()
    }

    /// The stored hash of a code under the newest root, bound to its project and verification.
    #[must_use]
    pub fn code_hash(&self, project: ProjectId, id: VerificationId, code: &Code) -> [u8; 32] {
        *hash_code(&self.newest, project, id, code).as_bytes()
    }

    /// Whether this is the verification's code. `blake3::Hash` compares in constant time.
    #[must_use]
    pub fn code_matches(&self, verification: &Verification, code: &Code) -> bool {
        let stored = blake3::Hash::from_bytes(verification.code_hash);
        self.by_id(verification.key_id)
            .is_some_and(|keys| hash_code(keys, verification.project, verification.id, code) == stored)
    }

    /// Seals under the newest root, for `context` alone.
    ///
    /// # Errors
    /// When the cipher fails.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Sealed, KeyError> {
        let mut sealed = self.newest.id.to_be_bytes().to_vec();
        self.newest.seal.seal_into(&mut sealed, context, plain)?;
        Ok(Sealed(sealed))
    }

    /// # Errors
    /// When no listed root made it, or it was made for another context.
    pub fn open(&self, context: &[u8], sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (id, rest) = sealed.0.split_first_chunk::<KEY_ID_LEN>().ok_or(KeyError::CannotOpen)?;
        let keys = self.by_id(i32::from_be_bytes(*id)).ok_or(KeyError::CannotOpen)?;
        keys.seal.open(context, rest)
    }

    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_code(&self, id: VerificationId, code: &Code) -> Result<Sealed, KeyError> {
        self.seal(&context(b"code", id), code.reveal().as_bytes())
    }

    /// # Errors
    /// As [`Self::open`].
    pub fn open_code(&self, id: VerificationId, sealed: &Sealed) -> Result<Code, KeyError> {
        let plain = self.open(&context(b"code", id), sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| KeyError::CannotOpen)?;
        Code::parse(text).map_err(|_| KeyError::CannotOpen)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring(newest {:08x}, {} older)", self.newest.id, self.older.len())
    }
}

impl RootKeys {
    fn derive(root: &SecretString) -> Result<Self, KeyError> {
        let root = parse_root(root.expose_secret())?;
        let derive = |purpose: &str| blake3::derive_key(purpose, &*root);
        let id = derive("otpd 2026-11 key id");
        Ok(Self {
            id: i32::from_be_bytes([id[0], id[1], id[2], id[3]]),
            index: derive("otpd 2026-11 blind index"),
            code_hash: derive("otpd 2026-11 code hash"),
            seal: SealingKey::new(&derive("otpd 2026-11 seal"))?,
        })
    }
}

impl Drop for RootKeys {
    fn drop(&mut self) {
        self.index.zeroize();
        self.code_hash.zeroize();
    }
}

fn parse_root(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let hash = blake3::Hash::from_hex(text.trim()).map_err(|_| KeyError::NotARootKey)?;
    Ok(Zeroizing::new(*hash.as_bytes()))
}

fn hash_code(keys: &RootKeys, project: ProjectId, id: VerificationId, code: &Code) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&keys.code_hash);
    hasher.update(project.as_uuid().as_bytes());
    hasher.update(id.as_uuid().as_bytes());
    hasher.update(code.reveal().as_bytes());
    hasher.finalize()
}

fn blind_index(key: &[u8; 32], label: &[u8], parts: &[&[u8]]) -> Index {
    let mut index = Index::default();
    keyed_hasher(key, label, parts).finalize_xof().fill(&mut index);
    index
}

fn keyed_hasher(key: &[u8; 32], label: &[u8], parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in std::iter::once(&label).chain(parts) {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher
}

fn context(purpose: &[u8], id: VerificationId) -> Vec<u8> {
    [purpose, id.as_uuid().as_bytes()].concat()
}

/// An AES-256-GCM key whose nonces are random: good for 2^32 values, far more than a project has in a day.
struct SealingKey(RandomizedNonceKey);

impl SealingKey {
    fn new(key: &[u8; 32]) -> Result<Self, KeyError> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(|_| KeyError::CannotSeal)
    }

    /// Appends nonce, ciphertext and tag.
    fn seal_into(&self, out: &mut Vec<u8>, context: &[u8], plain: &[u8]) -> Result<(), KeyError> {
        let mut body = plain.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(context), &mut body);
        let nonce = nonce.map_err(|_| KeyError::CannotSeal)?;
        out.extend_from_slice(nonce.as_ref());
        out.extend_from_slice(&body);
        Ok(())
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyError::CannotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::CannotOpen)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length =
            self.0.open_in_place(nonce, Aad::from(context), &mut body).map_err(|_| KeyError::CannotOpen)?.len();
        body.truncate(length);
        Ok(body)
    }
}

/// The key of one project and day: targets are sealed and indexed under it, and forgotten by deleting it.
pub struct DayKey {
    seal: SealingKey,
    tag: [u8; 32],
}

impl DayKey {
    /// # Errors
    /// When the key is not 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        let secret: &[u8; 32] = secret.try_into().map_err(|_| KeyError::CannotOpen)?;
        let seal = SealingKey::new(&blake3::derive_key("otpd 2026-11 target seal", secret))?;
        Ok(Self { seal, tag: blake3::derive_key("otpd 2026-11 target tag", secret) })
    }

    /// # Errors
    /// When the cipher fails.
    pub fn seal_target(&self, id: VerificationId, delivered: &str) -> Result<Sealed, KeyError> {
        let mut sealed = Vec::new();
        self.seal.seal_into(&mut sealed, &context(b"target", id), delivered.as_bytes())?;
        Ok(Sealed(sealed))
    }

    /// # Errors
    /// When it was sealed under another key or for another verification.
    pub fn open_target(&self, id: VerificationId, sealed: &Sealed) -> Result<String, KeyError> {
        let plain = self.seal.open(&context(b"target", id), &sealed.0)?;
        String::from_utf8(plain.to_vec()).map_err(|_| KeyError::CannotOpen)
    }

    #[must_use]
    pub fn tag(&self, canonical: &str) -> Index {
        blind_index(&self.tag, b"target", &[canonical.as_bytes()])
    }
}

impl Drop for DayKey {
    fn drop(&mut self) {
        self.tag.zeroize();
    }
}

impl fmt::Debug for DayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DayKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::time::Timestamp;
    use uuid::Uuid;

    fn root(byte: u8) -> SecretString {
        SecretString::from(blake3::Hash::from_bytes([byte; 32]).to_hex().to_string())
    }

    fn ring(newest: u8, older: &[u8]) -> Keyring {
        let older: Vec<_> = older.iter().map(|byte| root(*byte)).collect();
        Keyring::new(&root(newest), &older).expect("keys")
    }

    fn id() -> VerificationId {
        VerificationId::new(Timestamp::from_ms(1_000))
    }

    #[test]
    fn a_code_opens_for_its_verification_alone() {
        let (ring, id) = (ring(1, &[]), id());
        let sealed = ring.seal_code(id, &Code::parse("012345").expect("code")).expect("sealed");
        assert_eq!(ring.open_code(id, &sealed).expect("opened").reveal(), "012345");
        assert!(ring.open_code(self::id(), &sealed).is_err());
        assert!(!sealed.0.windows(6).any(|bytes| bytes == b"012345"));
    }

    #[test]
    fn an_older_root_still_opens_and_finds() {
        let (before, after, id) = (ring(1, &[]), ring(2, &[1]), id());
        let sealed = before.seal(b"x", b"plain").expect("sealed");
        assert_eq!(&*after.open(b"x", &sealed).expect("opened"), b"plain");
        assert!(ring(2, &[]).open(b"x", &sealed).is_err());
        let old = before.indexes(IndexKind::Target, &[b"a"]).newest;
        assert!(after.indexes(IndexKind::Target, &[b"a"]).all().any(|index| index == old));
        let _ = id;
    }

    #[test]
    fn indexes_of_other_kinds_and_other_splits_differ() {
        let ring = ring(1, &[]);
        let index = |kind, parts: &[&[u8]]| ring.indexes(kind, parts).newest;
        assert_ne!(index(IndexKind::Target, &[b"ab", b"c"]), index(IndexKind::Target, &[b"a", b"bc"]));
        assert_ne!(index(IndexKind::Target, &[b"a"]), index(IndexKind::IpLimit, &[b"a"]));
    }

    #[test]
    fn code_hashes_are_bound_to_project_and_verification() {
        let (ring, id) = (ring(1, &[]), id());
        let code = Code::parse("123456").expect("code");
        let (a, b) = (ProjectId::from_row(Uuid::from_u128(1)), ProjectId::from_row(Uuid::from_u128(2)));
        assert_ne!(ring.code_hash(a, id, &code), ring.code_hash(b, id, &code));
        assert_ne!(ring.code_hash(a, id, &code), ring.code_hash(a, self::id(), &code));
    }

    #[test]
    fn a_root_key_is_64_hex_digits() {
        assert!(Keyring::new(&SecretString::from("abc"), &[]).is_err());
        assert!(!format!("{:?}", ring(1, &[])).contains("0101"));
    }
}
