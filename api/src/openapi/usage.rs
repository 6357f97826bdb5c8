//! The shapes of a project's figures, statistics and tokens, and of its sandbox inbox.
//!
//! Messages hold targets and codes, and so nothing here is `Debug`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::records::DateOrTime;
use super::v1::Channel;

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document: queries are read field by field")]
pub(crate) struct StatsParams {
    /// Rounded down to a whole hour.
    #[param(inline)]
    date_from: Option<DateOrTime>,
    /// Rounded up to a whole hour.
    #[param(inline)]
    date_to: Option<DateOrTime>,
}

/// Verifications, counted by the hour in which they were opened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stats {
    pub(crate) total: i64,
    pub(crate) verified: i64,
    pub(crate) unverified: i64,
    /// Those with another system's code, which does not tell whether it was verified.
    pub(crate) relayed: i64,
    /// In percent, with two decimals.
    #[schema(pattern = r"^[0-9]{1,3}\.[0-9]{2}$", example = "80.00")]
    pub(crate) verification_rate: String,
    pub(crate) by_channel: BTreeMap<String, i64>,
    /// Of the newest dispatch.
    pub(crate) by_status: BTreeMap<String, i64>,
    pub(crate) by_provider: BTreeMap<String, i64>,
    /// By ISO 3166 alpha-2 code.
    pub(crate) by_country: BTreeMap<String, i64>,
    #[schema(required, format = DateTime)]
    pub(crate) date_from: Option<String>,
    #[schema(required, format = DateTime)]
    pub(crate) date_to: Option<String>,
}

/// What a project may still send.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenInfo {
    /// Null when unlimited.
    #[schema(required)]
    pub(crate) tokens: Option<i64>,
    /// A send takes one; it comes back when its dispatch fails or expires.
    pub(crate) tokens_used: i64,
    /// Null when unlimited.
    #[schema(required)]
    pub(crate) remaining_tokens: Option<i64>,
    pub(crate) has_unlimited_tokens: bool,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document: queries are read field by field")]
pub(crate) struct MessagesParams {
    /// An e-mail address, or a phone number with its country code.
    target: Option<String>,
}

/// The inbox, newest first, at most 100.
#[derive(Serialize, ToSchema)]
#[schema(as = SandboxMessages)]
pub(crate) struct Messages {
    pub(crate) messages: Vec<Message>,
}

/// A message that went to the inbox instead of a person.
#[derive(Serialize, ToSchema)]
#[schema(as = SandboxMessage)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    #[schema(format = Uuid)]
    pub(crate) id: String,
    pub(crate) target: String,
    #[schema(value_type = Channel)]
    pub(crate) channel: &'static str,
    #[schema(example = "123456")]
    pub(crate) code: String,
    #[schema(required)]
    pub(crate) subject: Option<String>,
    pub(crate) text: String,
    #[schema(required)]
    pub(crate) html: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}
