//! The delivery worker: takes jobs, claims attempts, hands messages to providers and writes back what they said.

pub mod breaker;
pub mod consumer;
pub mod decide;
pub mod dispatch;
pub mod message;
pub mod relay;
pub mod retention;
pub mod route;
mod telemetry;

pub use dispatch::Worker;
pub use telemetry::describe;
