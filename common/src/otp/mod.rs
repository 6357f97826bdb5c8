//! The pure domain: what a verification, a dispatch and an attempt are and how they may change.
//!
//! Nothing here reads a clock, a socket or a random source: time and randomness are passed in. Each operation is a
//! function from the rows it found and the requests it got to its answers and a set of [`changes::Changes`].

pub mod accept;
pub mod cancel;
pub mod chain;
pub mod changes;
pub mod channel;
pub mod claim;
pub mod close;
pub mod code;
pub mod finish;
pub mod fire;
pub mod guess;
pub mod ids;
pub mod limits;
pub mod provider_error;
pub mod receipt;
pub mod relay;
pub mod retry;
pub mod rows;
pub mod schedule;
pub mod settings;
pub mod status;
pub mod target;
pub mod time;
