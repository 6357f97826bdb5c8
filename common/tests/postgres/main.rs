//! What only PostgreSQL can get wrong: several processes at once, partitions, lost connections, rows left behind.
//!
//! Each test has a database of its own on the server that `OTPD_TEST_POSTGRES` names, and fails where there is none.

#![expect(clippy::disallowed_methods, reason = "the server is named in the environment, and every task is waited for")]

mod chains;
mod concurrency;
mod connections;
mod database;
mod days;
mod leftovers;
mod partitions;
#[expect(dead_code, reason = "the words of the conformance suite, not all of which are needed here")]
#[path = "../conformance/world.rs"]
mod world;
