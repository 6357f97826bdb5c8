//! What a message says: which attempt is next. Never a code, never a target.

use serde::{Deserialize, Serialize};

use crate::otp::ids::{AttemptId, DispatchId};
use crate::otp::time::Timestamp;

const VERSION: u16 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    pub attempt: AttemptId,
    /// After this, nobody needs to look at it any more.
    pub deadline: Timestamp,
}

/// Why a message cannot be worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("the message is not a job")]
    Malformed,
    /// Written by a newer program: it is left for one, and this consumer pauses.
    #[error("the message is of version {0}, this program reads {VERSION}: bring the workers up to date")]
    Newer(u16),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u16,
    dispatch: String,
    attempt: i16,
    deadline: i64,
}

impl Job {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            v: VERSION,
            dispatch: self.attempt.dispatch.to_string(),
            attempt: self.attempt.n,
            deadline: self.deadline.as_ms(),
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// # Errors
    /// When the bytes are no job, or one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u16,
        }
        let Versioned { v } = serde_json::from_slice(bytes).map_err(|_| Undecodable::Malformed)?;
        if v > VERSION {
            return Err(Undecodable::Newer(v));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|_| Undecodable::Malformed)?;
        let dispatch: DispatchId = wire.dispatch.parse().map_err(|_| Undecodable::Malformed)?;
        if wire.attempt < 1 {
            return Err(Undecodable::Malformed);
        }
        let attempt = AttemptId { dispatch, n: wire.attempt };
        Ok(Self { attempt, deadline: Timestamp::from_ms(wire.deadline) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::ids::VerificationId;
    use proptest::prelude::*;

    fn job() -> Job {
        let verification = VerificationId::new(Timestamp::from_ms(5_000));
        let attempt = AttemptId { dispatch: DispatchId { verification, n: 1 }, n: 2 };
        Job { attempt, deadline: Timestamp::from_ms(9_000) }
    }

    #[test]
    fn a_job_survives_the_wire_and_says_no_more_than_it_must() {
        let job = job();
        assert_eq!(Job::decode(&job.encode()), Ok(job));
        let wire: serde_json::Value = serde_json::from_slice(&job.encode()).expect("json");
        let mut fields: Vec<_> = wire.as_object().expect("object").keys().cloned().collect();
        fields.sort();
        assert_eq!(fields, ["attempt", "deadline", "dispatch", "v"]);
    }

    #[test]
    fn newer_and_foreign_messages_are_told_apart() {
        assert_eq!(Job::decode(br#"{"v":2,"anything":1}"#), Err(Undecodable::Newer(2)));
        assert_eq!(Job::decode(b"hello"), Err(Undecodable::Malformed));
        assert_eq!(Job::decode(br#"{"v":1,"dispatch":"x","attempt":1,"deadline":0}"#), Err(Undecodable::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Job::decode(&bytes);
        }
    }
}
