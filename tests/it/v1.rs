//! The v1 door: every field, status, header and message.

mod errors;
mod idempotency;
mod looking_back;
mod modes;
mod send;
mod verify;
