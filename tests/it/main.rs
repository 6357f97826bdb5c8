//! Tests through the running program, against real servers. `harness` starts it; the rest is one file a subject.

mod harness;

mod cli;
#[cfg(feature = "client-tests")]
mod clients;
mod crash;
mod delivery;
mod doors;
mod flow;
mod hooks;
mod openapi;
#[cfg(feature = "server-tests")]
mod outage;
mod sessions;
mod simulator;
mod tidy;
mod v1;
