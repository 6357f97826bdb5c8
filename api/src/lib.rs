//! The HTTP API: front doors over one core of send and verify.

mod core;
mod doors;
mod error;
mod extract;
mod fields;
mod health;
mod middleware;
mod receipts;
mod records;
pub mod router;
mod send;
mod telemetry;
mod verify;

pub use core::{Api, Parts};
pub use health::{Health, Readiness};
pub use telemetry::describe;
