//! The front doors: one file each, which reads its own shape, calls the core and writes its own shape.
//!
//! `keyless` opens the doors that carry no key; `front` is what stands before every door; `hooks` is what those share that
//! deliver the codes of other systems.

pub(crate) mod demo;
mod front;
mod hooks;
mod keyless;
pub(crate) mod kratos;
pub(crate) mod login;
pub(crate) mod mobile;
pub(crate) mod oneport;
pub(crate) mod openlyne;
pub(crate) mod supabase;
pub(crate) mod twilio;
pub(crate) mod v1;

pub(crate) use front::{Body, front};
pub use keyless::{Binding, Doors};
pub(crate) use keyless::{Name, OpenDoor, keyless};
pub use supabase::Supabase;
