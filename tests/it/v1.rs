//! The v1 door: every field, status, header and message.
