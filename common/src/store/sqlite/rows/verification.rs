//! The table `verifications`.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Blob, known, ms, time};
use crate::otp::channel::{Channel, Mode};
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::{CarriedGuesses, State, Verification};
use crate::otp::time::Timestamp;
use crate::store::{Result, StoreError};

#[derive(Debug, Serialize, FromRow)]
pub(in super::super) struct VerificationRow {
    id: Uuid,
    project_id: Uuid,
    mode: i16,
    channel: i16,
    country: Option<String>,
    record_id: String,
    locale: String,
    target: Blob,
    target_tag: Uuid,
    key_id: i32,
    code_hash: Blob,
    code: Option<Blob>,
    guesses: i16,
    budget: i16,
    carried_left: Option<i16>,
    carried_until: Option<i64>,
    sends: i16,
    expires_at: i64,
    state: i16,
    closed_at: Option<i64>,
    session: bool,
    own_code: bool,
}

impl From<&Verification> for VerificationRow {
    fn from(of: &Verification) -> Self {
        Self {
            id: of.id.as_uuid(),
            project_id: of.project.as_uuid(),
            mode: of.mode.code(),
            channel: of.channel.code(),
            country: of.country.clone(),
            record_id: of.record.clone(),
            locale: of.locale.clone(),
            target: Blob::from(&of.target),
            target_tag: super::index(of.target_tag),
            key_id: of.key_id,
            code_hash: Blob::from(&of.code_hash[..]),
            code: of.code.as_ref().map(Blob::from),
            guesses: of.guesses,
            budget: of.budget,
            carried_left: of.carried.map(|carried| carried.left),
            carried_until: of.carried.map(|carried| carried.until.as_ms()),
            sends: of.sends,
            expires_at: of.expires.as_ms(),
            state: of.state.code(),
            closed_at: ms(of.closed),
            session: of.session,
            own_code: of.own_code,
        }
    }
}

impl TryFrom<VerificationRow> for Verification {
    type Error = StoreError;

    fn try_from(row: VerificationRow) -> Result<Self> {
        let carried = row.carried_left.zip(time(row.carried_until));
        Ok(Self {
            id: VerificationId::from_uuid(row.id),
            project: ProjectId::from_row(row.project_id),
            mode: Mode::from_code(row.mode),
            channel: known(Channel::from_code(row.channel), "verifications.channel")?,
            country: row.country,
            record: row.record_id,
            locale: row.locale,
            target: row.target.into(),
            target_tag: row.target_tag.into_bytes(),
            key_id: row.key_id,
            code_hash: row.code_hash.exactly("verifications.code_hash")?,
            code: row.code.map(Into::into),
            guesses: row.guesses,
            budget: row.budget,
            carried: carried.map(|(left, until)| CarriedGuesses { left, until }),
            sends: row.sends,
            expires: Timestamp::from_ms(row.expires_at),
            state: known(State::from_code(row.state), "verifications.state")?,
            closed: time(row.closed_at),
            session: row.session,
            own_code: row.own_code,
        })
    }
}
