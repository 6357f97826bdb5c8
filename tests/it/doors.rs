//! The doors with shapes of their own: login, 1port, openlyne and mobile, word for word, and what they have in common.

mod bodies;
mod bound;
mod cors;
mod demo;
mod keyless;
mod limits;
mod login;
mod mobile;
mod oneport;
mod openlyne;
mod openlyne_erases;
mod rig;
mod twilio;
