//! The shapes of records and timelines, and the query for them.
//!
//! They hold targets, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::v1::Channel;

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document: the domain has its own and no document")]
pub(crate) enum Mode {
    Live,
    Sandbox,
}

/// Of a dispatch: the best that is known of its attempts; `waiting` is a fallback whose turn has not come.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document: the domain has its own and no document")]
pub(crate) enum DispatchStatus {
    Waiting,
    Queued,
    Sending,
    Sent,
    Delivered,
    Undelivered,
    Failed,
    Expired,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document: the domain has its own and no document")]
pub(crate) enum VerificationState {
    Open,
    Verified,
    Canceled,
    Superseded,
    Expired,
}

/// A date, which is a whole UTC day, or a time.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document: queries are read field by field")]
pub(crate) enum DateOrTime {
    #[schema(value_type = String, format = Date)]
    Date(String),
    #[schema(value_type = String, format = DateTime)]
    Time(String),
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document: queries are read field by field")]
pub(crate) struct RecordsParams {
    /// From 1; `page` times `limit` reaches 10,000.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Records on a page; 10 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    channel: Option<Channel>,
    verified: Option<bool>,
    /// Of the newest dispatch that has gone out.
    status: Option<DispatchStatus>,
    /// Your own reference.
    #[param(max_length = 128)]
    record_id: Option<String>,
    /// Created then or later.
    #[param(inline)]
    date_from: Option<DateOrTime>,
    /// Created then or before.
    #[param(inline)]
    date_to: Option<DateOrTime>,
    /// `nextCursor` of the reply before: goes on where that ended, without end.
    #[param(format = Uuid)]
    cursor: Option<String>,
}

/// A page of records, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Records {
    pub(crate) records: Vec<Record>,
    pub(crate) pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    pub(crate) page: u32,
    pub(crate) limit: u32,
    /// Exact up to 10,000 matches; beyond that from the statistics where the filter allows.
    pub(crate) total: u64,
    /// True when there are more than `total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) total_is_minimum: Option<bool>,
    pub(crate) pages: u64,
    /// There may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Uuid)]
    pub(crate) next_cursor: Option<String>,
}

/// A verification with its newest dispatch that has gone out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    #[schema(format = Uuid)]
    pub(crate) id: String,
    /// Null once it has been forgotten.
    #[schema(required)]
    pub(crate) target: Option<String>,
    #[schema(value_type = Channel)]
    pub(crate) channel: &'static str,
    #[schema(value_type = Mode)]
    pub(crate) mode: &'static str,
    /// Null when its code is another system's, which does not tell.
    #[schema(required)]
    pub(crate) verified: Option<bool>,
    /// Your own reference.
    #[schema(required)]
    pub(crate) record_id: Option<String>,
    #[schema(value_type = DispatchStatus)]
    pub(crate) status: &'static str,
    /// The provider that has it or had it last.
    #[schema(required)]
    pub(crate) provider: Option<String>,
    /// Why it ended as it did, where that is known.
    #[schema(required)]
    pub(crate) error: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) expires_at: String,
    #[schema(required, format = DateTime)]
    pub(crate) delivered_at: Option<String>,
}

/// One verification whole.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timeline {
    #[schema(format = Uuid)]
    pub(crate) id: String,
    /// Your own reference.
    #[schema(required)]
    pub(crate) record_id: Option<String>,
    /// Null once it has been forgotten.
    #[schema(required)]
    pub(crate) target: Option<String>,
    /// Of the first dispatch.
    #[schema(value_type = Channel)]
    pub(crate) channel: &'static str,
    /// ISO 3166 alpha-2 code of a phone number's country.
    #[schema(required, example = "US")]
    pub(crate) country: Option<String>,
    pub(crate) locale: String,
    #[schema(value_type = Mode)]
    pub(crate) mode: &'static str,
    #[schema(value_type = VerificationState)]
    pub(crate) state: &'static str,
    /// Null when its code is another system's, which does not tell.
    #[schema(required)]
    pub(crate) verified: Option<bool>,
    /// Wrong guesses so far.
    pub(crate) guesses: i16,
    pub(crate) attempts_left: i16,
    /// How often it was asked for: resends included, fallbacks not.
    pub(crate) sends: i16,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) expires_at: String,
    #[schema(required, format = DateTime)]
    pub(crate) closed_at: Option<String>,
    /// Oldest first.
    pub(crate) dispatches: Vec<Dispatch>,
}

/// One delivery of the code over one channel.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dispatch {
    /// The id of its verification, a colon and its number.
    pub(crate) id: String,
    #[schema(value_type = Channel)]
    pub(crate) channel: &'static str,
    /// Null once it has been forgotten.
    #[schema(required)]
    pub(crate) target: Option<String>,
    #[schema(value_type = DispatchStatus)]
    pub(crate) status: &'static str,
    #[schema(required)]
    pub(crate) provider: Option<String>,
    /// Why it ended as it did, where that is known.
    #[schema(required)]
    pub(crate) error: Option<String>,
    /// Null where it is none.
    #[schema(required)]
    pub(crate) fallback: Option<FallbackShown>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(required, format = DateTime)]
    pub(crate) sent_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub(crate) delivered_at: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) receipts: Vec<Receipt>,
}

/// When a dispatch goes out that waits for another one, or went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FallbackOf)]
pub(crate) struct FallbackShown {
    /// Seconds that what went out before it was given.
    pub(crate) after: u64,
    /// When its turn comes by itself, or when it went out.
    #[schema(format = DateTime)]
    pub(crate) at: String,
    /// What became of the dispatch before it, so that it went out; null while it has not.
    #[schema(required, value_type = Option<Because>)]
    pub(crate) because: Option<&'static str>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document: the domain has its own and no document")]
pub(crate) enum Because {
    #[schema(rename = "not delivered in time")]
    NotDelivered,
    Undelivered,
    Failed,
    Expired,
}

/// One call to one provider.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt {
    /// From 1.
    pub(crate) number: i16,
    #[schema(required)]
    pub(crate) provider: Option<String>,
    /// Why this provider, and why the one before was left.
    #[schema(required, example = "route sms: number 2 in order; twilio was left: unavailable")]
    pub(crate) chosen: Option<String>,
    #[schema(value_type = DispatchStatus)]
    pub(crate) status: &'static str,
    /// Why it failed.
    #[schema(required, example = "rejected")]
    pub(crate) cause: Option<String>,
    /// The provider's own words.
    #[schema(required)]
    pub(crate) detail: Option<String>,
    /// The provider's id of the message.
    #[schema(required)]
    pub(crate) message_id: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    #[schema(format = DateTime)]
    pub(crate) finished_at: String,
}

/// What a provider said later.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    /// The number of the attempt that it is about.
    #[schema(required)]
    pub(crate) attempt: Option<i16>,
    pub(crate) provider: String,
    #[schema(value_type = DispatchStatus)]
    pub(crate) status: &'static str,
    #[schema(required)]
    pub(crate) detail: Option<String>,
    pub(crate) message_id: String,
    #[schema(format = DateTime)]
    pub(crate) received_at: String,
}
