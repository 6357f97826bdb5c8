//! The tables of what went to providers and came back: `attempts`, `message_ids` and `receipts`.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::known;
use crate::otp::changes::MessageId;
use crate::otp::ids::{AttemptId, DispatchId, VerificationId};
use crate::otp::rows::{Attempt, Receipt};
use crate::otp::status::{AttemptStatus, ReceiptStatus};
use crate::otp::time::Timestamp;
use crate::store::{Result, StoreError};

fn attempt_id(verification: Uuid, dispatch: i16, n: i16) -> AttemptId {
    AttemptId { dispatch: DispatchId { verification: VerificationId::from_uuid(verification), n: dispatch }, n }
}

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct AttemptRow {
    verification_id: Uuid,
    dispatch_n: i16,
    n: i16,
    provider: Option<String>,
    started_at: i64,
    finished_at: i64,
    status: i16,
    cause: Option<String>,
    detail: Option<String>,
    message_id: Option<String>,
    chosen: Option<String>,
}

impl From<&Attempt> for AttemptRow {
    fn from(of: &Attempt) -> Self {
        Self {
            verification_id: of.id.dispatch.verification.as_uuid(),
            dispatch_n: of.id.dispatch.n,
            n: of.id.n,
            provider: of.provider.clone(),
            started_at: of.started.as_ms(),
            finished_at: of.finished.as_ms(),
            status: of.status.code(),
            cause: of.cause.clone(),
            detail: of.detail.clone(),
            message_id: of.message_id.clone(),
            chosen: of.chosen.clone(),
        }
    }
}

impl TryFrom<AttemptRow> for Attempt {
    type Error = StoreError;

    fn try_from(row: AttemptRow) -> Result<Self> {
        Ok(Self {
            id: attempt_id(row.verification_id, row.dispatch_n, row.n),
            provider: row.provider,
            started: Timestamp::from_ms(row.started_at),
            finished: Timestamp::from_ms(row.finished_at),
            status: known(AttemptStatus::from_code(row.status), "attempts.status")?,
            cause: row.cause,
            detail: row.detail,
            message_id: row.message_id,
            chosen: row.chosen,
        })
    }
}

/// A provider and a message id of its own, as statements take them: an array of two.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in super::super) struct MessageKey<'a>(&'a str, &'a str);

impl<'a> From<&'a (String, String)> for MessageKey<'a> {
    fn from((provider, message_id): &'a (String, String)) -> Self {
        Self(provider, message_id)
    }
}

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct MessageIdRow {
    provider: String,
    message_id: String,
    verification_id: Uuid,
    dispatch_n: i16,
    attempt_n: i16,
    created_at: i64,
}

impl From<&MessageId> for MessageIdRow {
    fn from(of: &MessageId) -> Self {
        Self {
            provider: of.provider.clone(),
            message_id: of.message_id.clone(),
            verification_id: of.attempt.dispatch.verification.as_uuid(),
            dispatch_n: of.attempt.dispatch.n,
            attempt_n: of.attempt.n,
            created_at: of.created.as_ms(),
        }
    }
}

impl From<MessageIdRow> for ((String, String), AttemptId) {
    fn from(row: MessageIdRow) -> Self {
        ((row.provider, row.message_id), attempt_id(row.verification_id, row.dispatch_n, row.attempt_n))
    }
}

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct ReceiptRow {
    id: Uuid,
    provider: String,
    message_id: String,
    verification_id: Option<Uuid>,
    dispatch_n: Option<i16>,
    attempt_n: Option<i16>,
    status: i16,
    detail: Option<String>,
    received_at: i64,
}

impl From<&Receipt> for ReceiptRow {
    fn from(of: &Receipt) -> Self {
        Self {
            id: of.id,
            provider: of.provider.clone(),
            message_id: of.message_id.clone(),
            verification_id: of.attempt.map(|id| id.dispatch.verification.as_uuid()),
            dispatch_n: of.attempt.map(|id| id.dispatch.n),
            attempt_n: of.attempt.map(|id| id.n),
            status: of.status.code(),
            detail: of.detail.clone(),
            received_at: of.received.as_ms(),
        }
    }
}

impl TryFrom<ReceiptRow> for Receipt {
    type Error = StoreError;

    fn try_from(row: ReceiptRow) -> Result<Self> {
        let attempt = row.verification_id.zip(row.dispatch_n).zip(row.attempt_n);
        Ok(Self {
            id: row.id,
            provider: row.provider,
            message_id: row.message_id,
            attempt: attempt.map(|((verification, dispatch), n)| attempt_id(verification, dispatch, n)),
            status: known(ReceiptStatus::from_code(row.status), "receipts.status")?,
            detail: row.detail,
            received: Timestamp::from_ms(row.received_at),
        })
    }
}
