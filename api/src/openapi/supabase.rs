//! The shapes of Supabase Auth's hooks: as much of its payloads as is read, and what it is answered.
//!
//! Payloads hold targets and codes, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{CLOSED, Door};

pub(crate) const DOOR: Door = Door {
    name: "supabase",
    about: "Supabase Auth's Send SMS and Send Email hooks: it makes and checks its codes, otpd delivers them. Signed as Standard \
        Webhooks say, for the project that `doors.supabase.project` names. What the person who asked for the code should see \
        is answered with status 200 and an `error`; any other status is an internal error to them.",
    credentials: &[],
    refusals: &[CLOSED, ("401", "The signature is missing, wrong, or more than 5 minutes from now")],
};

/// Standard Webhooks' headers.
#[derive(IntoParams)]
#[into_params(parameter_in = Header, rename_all = "kebab-case")]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct Signature {
    webhook_id: String,
    /// Seconds since the Unix epoch.
    webhook_timestamp: i64,
    /// `v1,` and the base64 of HMAC-SHA256 over id, timestamp and body; several are separated by a space, or a comma and a
    /// space.
    webhook_signature: String,
}

/// Empty when the message is accepted.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SupabaseAnswer)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Told>,
}

/// What Supabase Auth answers the person's app.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SupabaseError)]
pub(crate) struct Told {
    #[schema(minimum = 400, maximum = 599, example = 429)]
    pub(crate) http_code: u16,
    #[schema(example = "Too many requests: try again in 12 s")]
    pub(crate) message: String,
}

/// The payload of the Send SMS hook.
#[derive(ToSchema)]
#[schema(as = SupabaseSms)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct SmsHook {
    metadata: Option<Metadata>,
    sms: Sms,
}

#[derive(ToSchema)]
#[schema(as = SupabaseMetadata)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct Metadata {
    /// The same at each try: a message that comes again is not sent again. `webhook-id` stands in where it is absent.
    uuid: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = SupabaseSmsPart)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct Sms {
    #[schema(pattern = "^[0-9]{4,10}$", example = "561166")]
    otp: String,
    /// In E.164, with or without its `+`.
    #[schema(example = "14155552671")]
    phone: String,
    /// `mfa` for second factors.
    #[schema(pattern = "^[a-z_]{1,64}$")]
    sms_type: Option<String>,
}

/// The payload of the Send Email hook.
#[derive(ToSchema)]
#[schema(as = SupabaseEmail)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct EmailHook {
    metadata: Option<Metadata>,
    user: User,
    email_data: EmailData,
}

#[derive(ToSchema)]
#[schema(as = SupabaseUser)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct User {
    #[schema(example = "ann@example.com")]
    email: Option<String>,
    /// Where the address is being changed to.
    new_email: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = SupabaseEmailData)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct EmailData {
    /// `email_change` sends `token` to `user.email` and `token_new` to `user.new_email`, or the only one of them to
    /// `user.new_email`. All others send `token` to `user.email`.
    #[schema(pattern = "^[a-z_]{1,64}$", example = "signup")]
    email_action_type: String,
    #[schema(pattern = "^([0-9]{4,10})?$", example = "305805")]
    token: Option<String>,
    #[schema(pattern = "^([0-9]{4,10})?$")]
    token_new: Option<String>,
}
