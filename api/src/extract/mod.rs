//! Extractors: who asks, with what body, from where.

mod body;
mod client;
mod tenant;

pub(crate) use body::{JsonBody, require_json};
pub(crate) use client::network;
pub(crate) use tenant::Authenticated;
