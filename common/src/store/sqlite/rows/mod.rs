//! The rows of the tables, as they are read and as they go in through JSON, and their way to and from the domain.
//!
//! Bytes travel as hexadecimal. Blind indexes have 16 bytes, as ids have, and are read and written as UUIDs.

mod dispatch;
mod provider;
mod short_lived;
mod verification;

pub(super) use dispatch::{DispatchKey, DispatchRow, DueJoin, DueRow};
pub(super) use provider::{AttemptRow, MessageIdRow, MessageKey, ReceiptRow};
pub(super) use short_lived::{
    IdempotencyRow, LimitEventRow, LimitRow, OpenTargetRow, ProjectChangeRow, StatsRow, idempotency_key,
    open_target_key,
};
pub(super) use verification::VerificationRow;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::otp::ids::VerificationId;
use crate::otp::rows::{Index, Sealed};
use crate::otp::time::Timestamp;
use crate::store::{Result, StoreError};

/// Bytes of any length.
#[derive(Debug, Clone, sqlx::Type)]
#[sqlx(transparent)]
pub(super) struct Blob(Vec<u8>);

impl Blob {
    /// The bytes of a column that has `N` of them.
    pub(super) fn exactly<const N: usize>(self, column: &str) -> Result<[u8; N]> {
        let wrong = |bytes: Vec<u8>| StoreError::Refused(format!("{column} holds {} bytes, not {N}", bytes.len()));
        self.0.try_into().map_err(wrong)
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&Sealed> for Blob {
    fn from(sealed: &Sealed) -> Self {
        Self(sealed.0.clone())
    }
}

impl From<Blob> for Sealed {
    fn from(blob: Blob) -> Self {
        Self(blob.0)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = String::with_capacity(2 * self.0.len());
        for byte in &self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        serializer.serialize_str(&text)
    }
}

/// What a stored number stands for, unless a newer program wrote it.
pub(super) fn known<T>(value: Option<T>, column: &str) -> Result<T> {
    value.ok_or_else(|| StoreError::Refused(format!("{column} holds a number that this program does not know")))
}

pub(super) const fn index(bytes: Index) -> Uuid {
    Uuid::from_bytes(bytes)
}

pub(super) fn verification_ids(ids: &[VerificationId]) -> Vec<Uuid> {
    ids.iter().map(VerificationId::as_uuid).collect()
}

fn time(ms: Option<i64>) -> Option<Timestamp> {
    ms.map(Timestamp::from_ms)
}

fn ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_ms)
}
