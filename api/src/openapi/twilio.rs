//! The shapes of the Twilio door, in Twilio's names.
//!
//! They hold targets and codes, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{BASIC, Door};

pub(crate) const DOOR: Door = Door {
    name: "twilio",
    about: "Twilio Verify v2, for programs that were written for it. Bodies are forms; unknown parameters are ignored.",
    credentials: &[BASIC],
    refusals: &[("404", "20404: no such service or verification, or it has ended")],
};

/// A refusal in Twilio's shape.
#[derive(ToSchema)]
#[schema(as = TwilioError, example = json!({
    "code": 60200,
    "message": "Invalid parameter `To`: is required",
    "more_info": "https://www.twilio.com/docs/errors/60200",
    "status": 400,
}))]
#[expect(dead_code, reason = "for the document: the door's shape writes it")]
pub(crate) struct TwilioError {
    /// Twilio's number; for what it has none for, 20000 and the HTTP status.
    #[schema(minimum = 20000)]
    code: u32,
    /// In words, for people.
    message: String,
    #[schema(pattern = "^https://")]
    more_info: String,
    /// The HTTP status again.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct ServiceSid {
    /// The project, as `VA` and 32 hexadecimal digits.
    #[param(rename = "ServiceSid", pattern = "^VA[0-9a-fA-F]{32}$")]
    service_sid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct Sid {
    /// The `sid` of a verification, or what its code went to: then its newest one.
    #[param(rename = "Sid", example = "+14155552671")]
    sid: String,
}

#[derive(ToSchema)]
#[schema(as = TwilioCreateVerification, rename_all = "PascalCase")]
#[expect(dead_code, reason = "for the document: the door reads parameter by parameter, to name each mistake")]
pub(crate) struct CreateVerification {
    /// A phone number in E.164 or an e-mail address.
    #[schema(min_length = 1, example = "+14155552671")]
    to: String,
    channel: super::v1::Channel,
    /// BCP 47 tag of the message; the nearest language that there is, else English.
    #[schema(nullable = false, max_length = 35, example = "en")]
    locale: Option<String>,
    /// The code to send, for credentials made with `--own-codes`. It supersedes a pending verification.
    #[schema(nullable = false, pattern = r"^\s*[0-9]{4,10}\s*$", example = "493817")]
    custom_code: Option<String>,
    /// Your end user's IP address: limited to 20 sends in 10 minutes and 60 in a day.
    #[schema(nullable = false, example = "192.0.2.1")]
    device_ip: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = TwilioUpdateVerification, rename_all = "PascalCase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct UpdateVerification {
    status: NewStatus,
}

#[derive(ToSchema)]
#[schema(as = TwilioNewStatus, rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum NewStatus {
    Canceled,
    Approved,
}

#[derive(ToSchema)]
#[schema(as = TwilioCheckVerification, rename_all = "PascalCase")]
#[expect(dead_code, reason = "for the document: the door reads parameter by parameter, to name each mistake")]
pub(crate) struct CheckVerification {
    /// 4 to 10 digits.
    #[schema(pattern = r"^\s*[0-9]{4,10}\s*$", example = "123456")]
    code: String,
    /// What the code went to; this or `VerificationSid`.
    #[schema(nullable = false, example = "+14155552671")]
    to: Option<String>,
    /// The verification's `sid`; with `To`, both must fit.
    #[schema(nullable = false, pattern = "^VE[0-9a-fA-F]{32}$")]
    verification_sid: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TwilioVerification)]
pub(crate) struct Verification {
    /// `VE` and the digits of the verification's id.
    #[schema(pattern = "^VE[0-9a-f]{32}$")]
    pub(crate) sid: String,
    #[schema(pattern = "^VA[0-9a-f]{32}$")]
    pub(crate) service_sid: String,
    #[schema(pattern = "^AC[0-9a-f]{32}$")]
    pub(crate) account_sid: String,
    /// Null once it has been forgotten.
    #[schema(required = true)]
    pub(crate) to: Option<String>,
    /// The one it last went out by.
    #[schema(value_type = super::v1::Channel)]
    pub(crate) channel: &'static str,
    #[schema(value_type = Status)]
    pub(crate) status: &'static str,
    /// Whether it is approved.
    pub(crate) valid: bool,
    pub(crate) lookup: Lookup,
    /// Always null.
    #[schema(required = true)]
    pub(crate) amount: Option<String>,
    /// Always null.
    #[schema(required = true)]
    pub(crate) payee: Option<String>,
    /// One for each send, the newest last.
    #[schema(min_items = 1)]
    pub(crate) send_code_attempts: Vec<SendCodeAttempt>,
    #[schema(format = DateTime, example = "2025-07-13T10:30:00Z")]
    pub(crate) date_created: String,
    #[schema(format = DateTime, example = "2025-07-13T10:30:00Z")]
    pub(crate) date_updated: String,
    /// Always null.
    #[schema(required = true)]
    pub(crate) sna: Option<String>,
    /// Absolute: `server.public_url`, else where the request came to.
    #[schema(pattern = "^https?://")]
    pub(crate) url: String,
    /// Not Twilio's: only when a live account asked about a sandbox verification, whose code was in the inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "sandbox")]
    pub(crate) mode: Option<&'static str>,
}

/// Always empty.
#[derive(Serialize, ToSchema)]
#[schema(as = TwilioLookup)]
pub(crate) struct Lookup {}

#[derive(ToSchema)]
#[schema(as = TwilioStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum Status {
    Pending,
    /// Its checks are used up, and it has not expired.
    MaxAttemptsReached,
    Approved,
    Canceled,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TwilioSendCodeAttempt)]
pub(crate) struct SendCodeAttempt {
    #[schema(format = DateTime, example = "2025-07-13T10:30:00Z")]
    pub(crate) time: String,
    #[schema(value_type = AttemptChannel)]
    pub(crate) channel: &'static str,
    #[schema(pattern = "^VL[0-9a-f]{32}$")]
    pub(crate) attempt_sid: String,
}

/// Spelled as Twilio spells them here.
#[derive(ToSchema)]
#[schema(as = TwilioAttemptChannel)]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum AttemptChannel {
    #[schema(rename = "SMS")]
    Sms,
    #[schema(rename = "EMAIL")]
    Email,
    #[schema(rename = "whatsapp")]
    Whatsapp,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TwilioVerificationCheck)]
pub(crate) struct VerificationCheck {
    /// The verification's.
    #[schema(pattern = "^VE[0-9a-f]{32}$")]
    pub(crate) sid: String,
    #[schema(pattern = "^VA[0-9a-f]{32}$")]
    pub(crate) service_sid: String,
    #[schema(pattern = "^AC[0-9a-f]{32}$")]
    pub(crate) account_sid: String,
    pub(crate) to: String,
    #[schema(value_type = super::v1::Channel)]
    pub(crate) channel: &'static str,
    #[schema(value_type = CheckStatus)]
    pub(crate) status: &'static str,
    /// Whether the code was right.
    pub(crate) valid: bool,
    /// Always null.
    #[schema(required = true)]
    pub(crate) amount: Option<String>,
    /// Always null.
    #[schema(required = true)]
    pub(crate) payee: Option<String>,
    /// Always empty.
    #[schema(value_type = Vec<String>, max_items = 0)]
    pub(crate) sna_attempts_error_codes: [u32; 0],
    #[schema(format = DateTime, example = "2025-07-13T10:30:00Z")]
    pub(crate) date_created: String,
    #[schema(format = DateTime, example = "2025-07-13T10:30:00Z")]
    pub(crate) date_updated: String,
    /// Not Twilio's: only when a live account asked about a sandbox verification, whose code was in the inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "sandbox")]
    pub(crate) mode: Option<&'static str>,
}

#[derive(ToSchema)]
#[schema(as = TwilioCheckStatus, rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum CheckStatus {
    /// The code was wrong.
    Pending,
    Approved,
}
