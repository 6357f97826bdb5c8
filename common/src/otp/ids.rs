//! Identities. Ids are UUIDv7, so they sort by time and tell when their row was made.

use std::fmt;
use std::str::FromStr;

use uuid::{NoContext, Uuid};

use super::time::Timestamp;

/// A tenant. Made only by the authenticator and by reading a stored row, so that a query which takes one can trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectId(Uuid);

impl ProjectId {
    pub(crate) const fn from_row(id: Uuid) -> Self {
        Self(id)
    }

    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// What doors that speak as Twilio Verify does call it: `VA` and 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn service_sid(&self) -> String {
        format!("VA{}", self.0.simple())
    }
}

/// Shown to people and clients as `PRJ_` and 32 hexadecimal digits.
impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PRJ_{}", self.0.simple())
    }
}

/// The UUID in a project's name at doors that speak as Twilio Verify does; `None` for anything else. Digits of either
/// case are taken. What it names must still be looked up.
#[must_use]
pub fn parse_service_sid(sid: &str) -> Option<Uuid> {
    let hex = sid.strip_prefix("VA").filter(|hex| hex.len() == 32)?;
    Uuid::try_parse(hex).ok()
}

/// The UUID in a project's public name; `None` for anything else. What it names must still be looked up.
#[must_use]
pub fn parse_project_name(name: &str) -> Option<Uuid> {
    let hex = name.strip_prefix("PRJ_").filter(|hex| hex.len() == 32)?;
    Uuid::try_parse(hex).ok()
}

/// One open question: does this person hold this target?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerificationId(Uuid);

impl VerificationId {
    /// A new id that carries `now`; the rest of it is random.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let ms = u64::try_from(now.as_ms()).unwrap_or(0);
        let nanos = u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000;
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, ms / 1000, nanos)))
    }

    #[must_use]
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// When the verification was opened.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        let bytes = self.0.as_bytes();
        let ms = bytes[..6].iter().fold(0_i64, |ms, byte| (ms << 8) | i64::from(*byte));
        Timestamp::from_ms(ms)
    }

    /// The smallest id that could have been made at `at`: a bound for ranges over time.
    #[must_use]
    pub fn floor(at: Timestamp) -> Self {
        let ms = u128::try_from(at.as_ms().max(0)).unwrap_or(0) & 0xffff_ffff_ffff;
        Self(Uuid::from_u128(ms << 80))
    }
}

impl fmt::Display for VerificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The `n`th delivery of a verification's code, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DispatchId {
    pub verification: VerificationId,
    pub n: i16,
}

impl fmt::Display for DispatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.verification, self.n)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not an id of the form <verification id>:<number>")]
pub struct NotAnId;

impl FromStr for DispatchId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (verification, n) = text.split_once(':').ok_or(NotAnId)?;
        let verification = VerificationId(Uuid::try_parse(verification).map_err(|_| NotAnId)?);
        let n = n.parse().ok().filter(|n| *n > 0).ok_or(NotAnId)?;
        Ok(Self { verification, n })
    }
}

/// The `n`th call to a provider for a dispatch, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    pub dispatch: DispatchId,
    pub n: i16,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.dispatch, self.n)
    }
}

impl FromStr for AttemptId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (dispatch, n) = text.rsplit_once(':').ok_or(NotAnId)?;
        let n = n.parse().ok().filter(|n| *n > 0).ok_or(NotAnId)?;
        Ok(Self { dispatch: dispatch.parse()?, n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_was_made_and_sorts_after_its_floor() {
        let now = Timestamp::from_ms(1_752_402_600_123);
        let id = VerificationId::new(now);
        assert_eq!(id.created(), now);
        assert!(VerificationId::floor(now) <= id);
        assert!(id < VerificationId::floor(Timestamp::from_ms(now.as_ms() + 1)));
    }

    #[test]
    fn dispatch_and_attempt_ids_survive_text() {
        let dispatch = DispatchId { verification: VerificationId::new(Timestamp::from_ms(1)), n: 2 };
        let attempt = AttemptId { dispatch, n: 3 };
        assert_eq!(attempt.to_string().parse::<AttemptId>().ok(), Some(attempt));
        assert!("x:1".parse::<DispatchId>().is_err());
        assert!(format!("{}:0", dispatch.verification).parse::<DispatchId>().is_err());
    }

    #[test]
    fn only_whole_project_names_are_read() {
        let id = ProjectId::from_row(Uuid::from_u128(7));
        assert_eq!(parse_project_name(&id.to_string()), Some(Uuid::from_u128(7)));
        assert_eq!(parse_project_name("PRJ_7"), None);
        assert_eq!(parse_project_name(&Uuid::from_u128(7).to_string()), None);
    }

    #[test]
    fn service_sids_are_read_in_either_case() {
        let id = ProjectId::from_row(Uuid::from_u128(0xabc_def0));
        let sid = id.service_sid();
        assert_eq!((sid.len(), &sid[26..]), (34, "0abcdef0"));
        assert_eq!(parse_service_sid(&sid), Some(id.as_uuid()));
        assert_eq!(parse_service_sid(&format!("VA{}", sid[2..].to_uppercase())), Some(id.as_uuid()));
        for other in ["VA", "VA7", &id.to_string(), &format!("{sid}0"), &sid[2..]] {
            assert_eq!(parse_service_sid(other), None, "{other}");
        }
    }
}
