//! The tables that sends and guesses count and find by: `limits`, `open_targets`, `idempotency_keys`, and the
//! counters of `projects` and `stats_hourly`.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Blob, index, ms};
use crate::otp::changes::{ProjectChange, StatsKey};
use crate::otp::channel::Mode;
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::limits::Window;
use crate::otp::rows::{IdempotencyKey, Index, LimitTimes, OpenTarget, OpenTargetKey, Remembered};
use crate::otp::time::Timestamp;
use crate::store::{Result, StoreError};

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct LimitRow {
    key: Uuid,
    time0: i64,
    time1: i64,
    time2: i64,
}

impl From<(&Index, &LimitTimes)> for LimitRow {
    fn from((key, times): (&Index, &LimitTimes)) -> Self {
        let [time0, time1, time2] = times.map(Timestamp::as_ms);
        Self { key: index(*key), time0, time1, time2 }
    }
}

impl From<LimitRow> for (Index, LimitTimes) {
    fn from(row: LimitRow) -> Self {
        (row.key.into_bytes(), [row.time0, row.time1, row.time2].map(Timestamp::from_ms))
    }
}

/// The time that events add to a window.
#[derive(Debug, Serialize)]
pub(in super::super) struct LimitEventRow {
    key: Uuid,
    added: i64,
}

impl From<(&Index, &(Window, u32))> for LimitEventRow {
    fn from((key, (window, events)): (&Index, &(Window, u32))) -> Self {
        Self { key: index(*key), added: window.step_ms().saturating_mul(i64::from(*events)) }
    }
}

/// The key of an open target as statements take it: project, target, record id, mode.
pub(in super::super) fn open_target_key(key: &OpenTargetKey) -> (Uuid, Uuid, &str, i16) {
    (key.project.as_uuid(), index(key.target), &key.record, key.mode.code())
}

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct OpenTargetRow {
    project_id: Uuid,
    target: Uuid,
    record_id: String,
    mode: i16,
    verification_id: Uuid,
    expires_at: i64,
}

impl From<&OpenTarget> for OpenTargetRow {
    fn from(of: &OpenTarget) -> Self {
        Self {
            project_id: of.key.project.as_uuid(),
            target: index(of.key.target),
            record_id: of.key.record.clone(),
            mode: of.key.mode.code(),
            verification_id: of.verification.as_uuid(),
            expires_at: of.expires.as_ms(),
        }
    }
}

impl From<OpenTargetRow> for OpenTarget {
    fn from(row: OpenTargetRow) -> Self {
        Self {
            key: OpenTargetKey {
                project: ProjectId::from_row(row.project_id),
                target: row.target.into_bytes(),
                record: row.record_id,
                mode: Mode::from_code(row.mode),
            },
            verification: VerificationId::from_uuid(row.verification_id),
            expires: Timestamp::from_ms(row.expires_at),
        }
    }
}

/// The key of a remembered reply as statements take it: project, mode, key.
pub(in super::super) fn idempotency_key(key: &IdempotencyKey) -> (Uuid, i16, Uuid) {
    (key.project.as_uuid(), key.mode.code(), index(key.key))
}

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct IdempotencyRow {
    project_id: Uuid,
    mode: i16,
    key: Uuid,
    request: Blob,
    verification_id: Uuid,
    dispatch_n: i16,
    expires_in: i32,
    created_at: i64,
}

impl From<&Remembered> for IdempotencyRow {
    fn from(of: &Remembered) -> Self {
        Self {
            project_id: of.key.project.as_uuid(),
            mode: of.key.mode.code(),
            key: index(of.key.key),
            request: Blob::from(&of.request[..]),
            verification_id: of.dispatch.verification.as_uuid(),
            dispatch_n: of.dispatch.n,
            expires_in: of.expires_in,
            created_at: of.created.as_ms(),
        }
    }
}

impl TryFrom<IdempotencyRow> for Remembered {
    type Error = StoreError;

    fn try_from(row: IdempotencyRow) -> Result<Self> {
        Ok(Self {
            key: IdempotencyKey {
                project: ProjectId::from_row(row.project_id),
                mode: Mode::from_code(row.mode),
                key: row.key.into_bytes(),
            },
            request: row.request.exactly("idempotency_keys.request")?,
            dispatch: DispatchId { verification: VerificationId::from_uuid(row.verification_id), n: row.dispatch_n },
            expires_in: row.expires_in,
            created: Timestamp::from_ms(row.created_at),
        })
    }
}

#[derive(Debug, Serialize)]
pub(in super::super) struct ProjectChangeRow {
    id: Uuid,
    used: i64,
    rate_at: Option<i64>,
}

impl From<(&ProjectId, &ProjectChange)> for ProjectChangeRow {
    fn from((id, change): (&ProjectId, &ProjectChange)) -> Self {
        Self { id: id.as_uuid(), used: change.used, rate_at: ms(change.rate) }
    }
}

#[derive(Debug, Serialize)]
pub(in super::super) struct StatsRow<'a> {
    project_id: Uuid,
    mode: i16,
    hour: i64,
    dimension: i16,
    value: &'a str,
    count: i64,
}

impl<'a> From<(&'a StatsKey, i64)> for StatsRow<'a> {
    fn from((key, count): (&'a StatsKey, i64)) -> Self {
        Self {
            project_id: key.project.as_uuid(),
            mode: key.mode.code(),
            hour: key.hour.as_ms(),
            dimension: key.dimension.code(),
            value: &key.value,
            count,
        }
    }
}
