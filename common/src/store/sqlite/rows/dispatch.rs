//! The tables `dispatches` and `due`.

use std::time::Duration;

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Blob, known, ms, time};
use crate::otp::chain::{Fallback, Fired, OwnTarget};
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{DispatchId, ProjectId, VerificationId};
use crate::otp::rows::{Charge, Dispatch, Due};
use crate::otp::status::DispatchStatus;
use crate::otp::time::Timestamp;
use crate::store::{Result, StoreError};

/// The key of a dispatch as statements take it: an array of two.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in super::super) struct DispatchKey(Uuid, i16);

impl From<&DispatchId> for DispatchKey {
    fn from(id: &DispatchId) -> Self {
        Self(id.verification.as_uuid(), id.n)
    }
}

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct DispatchRow {
    verification_id: Uuid,
    n: i16,
    project_id: Uuid,
    mode: i16,
    channel: i16,
    newest: bool,
    status: i16,
    attempt: i16,
    lease_until: Option<i64>,
    first_attempt_at: Option<i64>,
    pass: i16,
    #[sqlx(json)]
    tried: Vec<String>,
    ambiguous: i16,
    provider: Option<String>,
    reason: Option<String>,
    charge: i16,
    created_at: i64,
    sent_at: Option<i64>,
    delivered_at: Option<i64>,
    target: Option<Blob>,
    target_of: Option<Uuid>,
    country: Option<String>,
    chain: Option<i16>,
    after_s: Option<i64>,
    fires_at: Option<i64>,
    fired_by: Option<i16>,
}

impl From<&Dispatch> for DispatchRow {
    fn from(of: &Dispatch) -> Self {
        Self {
            verification_id: of.id.verification.as_uuid(),
            n: of.id.n,
            project_id: of.project.as_uuid(),
            mode: of.mode.code(),
            channel: of.channel.code(),
            newest: of.newest,
            status: of.status.code(),
            attempt: of.attempt,
            lease_until: ms(of.lease),
            first_attempt_at: ms(of.first_attempt),
            pass: of.pass,
            tried: of.tried.clone(),
            ambiguous: of.ambiguous,
            provider: of.provider.clone(),
            reason: of.reason.clone(),
            charge: of.charge.code(),
            created_at: of.created.as_ms(),
            sent_at: ms(of.sent),
            delivered_at: ms(of.delivered),
            target: of.target.as_ref().map(|target| Blob::from(&target.sealed)),
            target_of: of.target.as_ref().map(|target| target.sealed_as.as_uuid()),
            country: of.target.as_ref().and_then(|target| target.country.clone()),
            chain: of.fallback.map(|fallback| fallback.first),
            after_s: of.fallback.map(|fallback| i64::try_from(fallback.after.as_secs()).unwrap_or(i64::MAX)),
            fires_at: ms(of.fallback.map(|fallback| fallback.at)),
            fired_by: of.fallback.and_then(|fallback| fallback.fired).map(Fired::code),
        }
    }
}

impl TryFrom<DispatchRow> for Dispatch {
    type Error = StoreError;

    fn try_from(row: DispatchRow) -> Result<Self> {
        let fallback = row.fallback()?;
        let sealed = row.target.zip(row.target_of).map(|(sealed, id)| (sealed.into(), VerificationId::from_uuid(id)));
        let country = row.country;
        Ok(Self {
            id: DispatchId { verification: VerificationId::from_uuid(row.verification_id), n: row.n },
            project: ProjectId::from_row(row.project_id),
            mode: Mode::from_code(row.mode),
            channel: known(Channel::from_code(row.channel), "dispatches.channel")?,
            newest: row.newest,
            status: known(DispatchStatus::from_code(row.status), "dispatches.status")?,
            attempt: row.attempt,
            lease: time(row.lease_until),
            first_attempt: time(row.first_attempt_at),
            pass: row.pass,
            tried: row.tried,
            ambiguous: row.ambiguous,
            provider: row.provider,
            reason: row.reason,
            charge: known(Charge::from_code(row.charge), "dispatches.charge")?,
            created: Timestamp::from_ms(row.created_at),
            sent: time(row.sent_at),
            delivered: time(row.delivered_at),
            target: sealed.map(|(sealed, sealed_as)| OwnTarget { sealed, sealed_as, country }),
            fallback,
        })
    }
}

impl DispatchRow {
    fn fallback(&self) -> Result<Option<Fallback>> {
        let fired = self.fired_by.map(|code| known(Fired::from_code(code), "dispatches.fired_by")).transpose()?;
        let after = self.after_s.map(|count| Duration::from_secs(u64::try_from(count).unwrap_or(0)));
        let of = |((first, after), at)| Fallback { first, after, at, fired };
        Ok(self.chain.zip(after).zip(time(self.fires_at)).map(of))
    }
}

#[derive(Debug, Serialize)]
pub(in super::super) struct DueRow {
    verification_id: Uuid,
    n: i16,
    due_at: i64,
    deadline: i64,
    published: i16,
}

impl From<&Due> for DueRow {
    fn from(of: &Due) -> Self {
        Self {
            verification_id: of.dispatch.verification.as_uuid(),
            n: of.dispatch.n,
            due_at: of.at.as_ms(),
            deadline: of.deadline.as_ms(),
            published: of.published,
        }
    }
}

/// A due row beside its dispatch, of which it has the key.
#[derive(Debug, FromRow)]
pub(in super::super) struct DueJoin {
    due_at: i64,
    deadline: i64,
    published: i16,
    #[sqlx(flatten)]
    dispatch: DispatchRow,
}

impl TryFrom<DueJoin> for (Due, Dispatch) {
    type Error = StoreError;

    fn try_from(row: DueJoin) -> Result<Self> {
        let dispatch = Dispatch::try_from(row.dispatch)?;
        let due = Due {
            dispatch: dispatch.id,
            at: Timestamp::from_ms(row.due_at),
            deadline: Timestamp::from_ms(row.deadline),
            published: row.published,
        };
        Ok((due, dispatch))
    }
}
