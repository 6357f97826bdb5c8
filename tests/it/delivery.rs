//! Delivery through stub vendors and the sandbox's magic targets: causes, failover, retries, receipts.

mod content;
mod crowding;
mod failover;
mod own;
mod rig;
mod sandbox;
mod stopped;
mod twilio;
mod vendor;
