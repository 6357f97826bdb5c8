//! The verify core: a guess that a door has read is counted, compared and settled.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::keys::IndexKind;
use common::otp::code::Code;
use common::otp::guess::{Guess, Reason, Verdict};
use common::otp::ids::VerificationId;
use common::otp::limits::Window;
use common::otp::rows::{Index, Limit, LimitName};
use common::otp::target::Target;
use common::tenancy::Tenant;
use uuid::Uuid;

use crate::core::Api;
use crate::error::ApiError;
use crate::telemetry;

/// Guesses at one verification that may wait at once, beyond its budget: more cannot be right any more.
const WAITING_BEYOND_BUDGET: usize = 3;

/// A guess as the core understands it.
#[derive(Debug)]
pub(crate) struct Verify {
    pub(crate) target: Target,
    pub(crate) code: Code,
    /// The server's id or the caller's reference.
    pub(crate) record: Option<String>,
    pub(crate) client_ip: Option<IpAddr>,
    /// On success, target and code are erased from the row.
    pub(crate) erase: bool,
}

/// Looks at one guess; only what was compared is counted.
pub(crate) async fn verify(api: &Api, tenant: &Tenant, verify: Verify) -> Result<Verdict, ApiError> {
    let guess = guess(api, tenant, verify).await?;
    let place = (guess.target.newest, guess.record.clone().unwrap_or_default());
    let budget = usize::from(tenant.project.settings.guesses);
    let Some(_waiting) = api.gate.enter(place, budget + WAITING_BEYOND_BUDGET) else {
        telemetry::verified("too_many");
        return Ok(Verdict::Refused { verification: None, reason: Reason::TooMany });
    };
    let verdict = api.guesses.call(guess).await?;
    telemetry::verified(match &verdict {
        Verdict::Verified { .. } => "verified",
        Verdict::Wrong { .. } => "wrong",
        Verdict::Limited { .. } => "limited",
        Verdict::Refused { reason: Reason::Expired, .. } => "expired",
        Verdict::Refused { reason: Reason::Used, .. } => "used",
        Verdict::Refused { reason: Reason::TooMany, .. } => "too_many",
        Verdict::Refused { reason: Reason::Canceled, .. } => "canceled",
        Verdict::Refused { reason: Reason::NotFound, .. } => "not_found",
    });
    Ok(verdict)
}

async fn guess(api: &Api, tenant: &Tenant, verify: Verify) -> Result<Guess, ApiError> {
    let (keys, project) = (api.parts.vault.keys(), tenant.id());
    let canonical = verify.target.canonical();
    let (id, mode) = (project.as_uuid(), tenant.mode.as_str().as_bytes());
    let parts: [&[u8]; 2] = [id.as_bytes(), canonical.as_bytes()];
    let mut limits = vec![Limit {
        name: LimitName::Target,
        key: keys.indexes(IndexKind::GuessLimit, &[id.as_bytes(), mode, canonical.as_bytes()]),
        windows: vec![Window::new(25, Duration::from_secs(3600))],
    }];
    if let Some(ip) = verify.client_ip {
        limits.push(Limit {
            name: LimitName::Ip,
            key: keys.indexes(IndexKind::IpGuessLimit, &[id.as_bytes(), mode, &crate::extract::network(ip)]),
            windows: vec![Window::new(60, Duration::from_secs(600))],
        });
    }
    Ok(Guess {
        project,
        modes: tenant.mode.visible(),
        target: keys.indexes(IndexKind::Target, &parts),
        by_id: by_id(api, tenant, verify.record.as_deref(), canonical).await?,
        record: verify.record,
        code: verify.code,
        erase: verify.erase,
        limits,
    })
}

/// The server id that a record id may be, with the target's blind index under that day's key.
async fn by_id(
    api: &Api,
    tenant: &Tenant,
    record: Option<&str>,
    canonical: &str,
) -> Result<Option<(VerificationId, Index)>, ApiError> {
    let Some(id) = record.and_then(server_id) else { return Ok(None) };
    let day = api.parts.vault.old_day_key(tenant.id(), id).await?;
    Ok(day.map(|day| (id, day.tag(canonical))))
}

/// A UUIDv7 in its usual form: what the server's ids look like.
pub(crate) fn server_id(record: &str) -> Option<VerificationId> {
    let id = Uuid::try_parse(record).ok().filter(|id| id.get_version_num() == 7 && record.len() == 36)?;
    Some(VerificationId::from_uuid(id))
}

type Place = (Index, String);

/// Counts the guesses that wait for each verification.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<HashMap<Place, usize>>);

/// A guess that waits; it is counted until this is dropped.
pub(crate) struct Waiting<'a> {
    gate: &'a Gate,
    place: Place,
}

impl Gate {
    fn enter(&self, place: Place, most: usize) -> Option<Waiting<'_>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entry(place.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Waiting { gate: self, place })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_counts_those_who_wait_and_forgets_those_who_left() {
        let gate = Gate::default();
        let place = || (Index::default(), String::new());
        let first = gate.enter(place(), 2).expect("room");
        let _second = gate.enter(place(), 2).expect("room");
        assert!(gate.enter(place(), 2).is_none());
        drop(first);
        assert!(gate.enter(place(), 2).is_some());
        assert!(gate.enter((Index::default(), "other".to_owned()), 2).is_some());
    }

    #[test]
    fn only_whole_v7_uuids_are_server_ids() {
        let id = Uuid::now_v7().to_string();
        assert!(server_id(&id).is_some());
        assert!(server_id(&id.replace('-', "")).is_none());
        assert!(server_id("123e4567-e89b-12d3-a456-426614174000").is_none());
    }
}
