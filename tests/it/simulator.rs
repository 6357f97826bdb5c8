//! `otpd simulate`: vendors that are played, otpd on the settings that they print, and failover rehearsed with them.

mod checks;
mod command;
mod documented;
mod drills;
mod magic;
mod rig;
// The same reading of the vendors' documents that the adapters are held to.
#[path = "../../providers/tests/conformance/specs.rs"]
mod specs;
mod strict;
mod vendors;
