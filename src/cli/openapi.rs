//! `otpd openapi`: what the API offers, as an OpenAPI document. docs/openapi.json is this.

use clap::Args;

use crate::outcome::{Outcome, say};

/// Print the OpenAPI document
#[derive(Debug, Args)]
pub(super) struct OpenApi {}

impl OpenApi {
    pub(super) fn run(self) -> Outcome {
        say(api::router::document());
        Ok(())
    }
}
