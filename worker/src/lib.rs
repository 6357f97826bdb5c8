//! The delivery worker: takes jobs, claims attempts, hands messages to providers and writes back what they said.

pub mod breaker;
pub mod caps;
pub mod checks;
pub mod consumer;
pub mod decide;
pub mod dispatch;
pub mod health;
pub mod message;
pub mod place;
pub mod relay;
pub mod retention;
pub mod route;
pub mod slot;
mod telemetry;
pub mod weights;

pub use dispatch::Worker;
pub use telemetry::describe;
