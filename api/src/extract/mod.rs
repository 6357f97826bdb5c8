//! Extractors: who asks, with what body, from where.

mod body;
mod client;
mod tenant;

pub(crate) use body::{FormBody, JsonBody, read_json, require_form, require_json};
pub(crate) use client::{client_of, network};
pub(crate) use tenant::{Authenticated, Keyed};
