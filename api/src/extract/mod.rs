//! Extractors: who asks, with what body, from where.

mod body;
mod client;
mod tenant;

pub(crate) use body::{FormBody, JsonBody, has_form, has_json, read_json};
pub(crate) use client::{client_of, network};
pub(crate) use tenant::{Authenticated, Keyed};
