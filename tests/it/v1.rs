//! The v1 door: every field, status, header and message.

mod chain;
mod errors;
mod idempotency;
mod looking_back;
mod modes;
mod own_codes;
mod send;
mod verify;
