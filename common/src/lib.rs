//! What api and worker share: the pure domain (`otp`), the store, the queue, keys, time and settings.

pub mod batch;
pub mod clock;
pub mod config;
pub mod keys;
pub mod otp;
pub mod queue;
pub mod retry;
pub mod session_keys;
pub mod store;
pub mod tenancy;
pub mod vault;
