//! The front doors: one file each, which reads its own shape, calls the core and writes its own shape.

pub(crate) mod v1;
