//! The HTTP API: front doors over one core of send and verify.

mod chain;
mod core;
mod doors;
mod error;
mod extract;
mod fields;
mod health;
mod middleware;
mod openapi;
mod receipts;
mod records;
pub mod router;
mod send;
pub mod sessions;
mod telemetry;
mod verify;

pub use core::{Api, Parts};
pub use doors::{Binding, Doors, Supabase};
pub use health::{Health, Readiness};
pub use telemetry::describe;
