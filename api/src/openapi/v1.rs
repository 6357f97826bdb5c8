//! The shapes of the v1 door: what it reads, field by field, and what it answers.
//!
//! They hold targets and codes, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{API_KEY, Door, PROJECT};
use crate::sessions::{ACCESS_LIFE, Tokens};

/// What all calls with a key and a project share.
pub(crate) const DOOR: Door = Door {
    name: "v1",
    about: "Send, verify and look back, for callers with an API key and a project.",
    credentials: &[API_KEY, PROJECT],
    refusals: &[],
};

/// A refusal.
#[derive(ToSchema)]
#[schema(as = Error, example = json!({ "statusCode": 400, "message": "target is required", "code": "invalid_request" }))]
#[expect(dead_code, reason = "for the document: `ApiError` writes it")]
pub(crate) struct V1Error {
    /// The HTTP status again.
    #[schema(rename = "statusCode", minimum = 400, maximum = 599)]
    status_code: u16,
    /// In words, for people.
    message: String,
    /// Stable, for programs.
    #[schema(pattern = "^[a-z_]+$")]
    code: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase", examples(
    json!({ "target": "ann@example.com", "channel": "email", "recordId": "order-1234", "locale": "en", "ttl": 300 }),
    json!({ "target": "4155552671", "channel": "sms", "countryCode": "US", "clientIp": "192.0.2.1" }),
    json!({ "target": "+14155552671", "channel": "whatsapp", "fallback": [{ "channel": "sms", "after": 20 }] }),
))]
#[expect(dead_code, reason = "for the document: the door reads field by field, to name each mistake")]
pub(crate) struct SendRequest {
    /// A phone number, in E.164 or with `countryCode` in national form, or an e-mail address.
    #[schema(min_length = 1)]
    target: String,
    channel: Channel,
    country_code: Option<CountryCode>,
    /// Your own reference; need not be unique, must not begin with `door:`. A send for the target and reference of an open
    /// verification is a resend of it.
    #[schema(min_length = 1, max_length = 128)]
    record_id: Option<String>,
    /// BCP 47 tag of the message; the nearest language that there is, else English.
    #[schema(pattern = "^[A-Za-z0-9]{1,8}([-_][A-Za-z0-9]{1,8})*$", max_length = 35)]
    locale: Option<String>,
    /// A code of your own instead of one that is made here, for keys made with `--own-codes`. It supersedes an open
    /// verification.
    #[schema(pattern = r"^\s*[0-9]{4,10}\s*$")]
    code: Option<String>,
    /// Success may open a session: see `session` of verify.
    session: Option<bool>,
    /// Life of the code in seconds; from 10 with a live key. The project's own when absent.
    #[schema(minimum = 1, maximum = 600)]
    ttl: Option<u32>,
    /// Your end user's IP address: limited to 20 sends in 10 minutes and 60 in a day.
    client_ip: Option<String>,
    /// What the same code goes out by where it does not arrive, one after the other. The project's own when absent; an
    /// empty list for none.
    #[schema(max_items = 3)]
    fallback: Option<Vec<FallbackRequest>>,
}

/// One entry of a chain. It goes out when what went out before it has no receipt of its delivery in time, or at once when
/// that has failed; never when the verification has closed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = Fallback)]
#[expect(dead_code, reason = "for the document: the door reads field by field, to name each mistake")]
pub(crate) struct FallbackRequest {
    channel: Channel,
    /// Seconds that what went out before it is given. All of them together must end in the useful life of the code.
    #[schema(minimum = 5, maximum = 300)]
    after: u32,
    /// Where the target of the send is not meant, or is nothing for this channel.
    #[schema(min_length = 1)]
    target: Option<String>,
    country_code: Option<CountryCode>,
}

/// Where a number in national form is from: a calling code or a region, such as `+1`, `1` or `US`. It must agree with a number
/// in E.164.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum CountryCode {
    Text(String),
    Number(#[schema(inline)] CallingCode),
}

#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 999)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct CallingCode(u16);

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document: the domain has its own and no document")]
pub(crate) enum Channel {
    Sms,
    Email,
    Whatsapp,
}

/// An accepted send: it is committed and goes out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    #[schema(example = "OTP generated and queued")]
    pub(crate) message: &'static str,
    /// Seconds until the code expires.
    #[schema(example = 300)]
    pub(crate) expires_in: i32,
    /// The id of the verification.
    #[schema(format = Uuid, example = "019803f1-7d3c-7a51-9f0e-2b7b6d6f3c1a")]
    pub(crate) record_id: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({ "target": "ann@example.com", "code": "123456", "recordId": "order-1234" }))]
#[expect(dead_code, reason = "for the document: the door reads field by field, to name each mistake")]
pub(crate) struct VerifyRequest {
    /// What the code was sent to.
    #[schema(min_length = 1)]
    target: String,
    /// 4 to 10 digits.
    #[schema(pattern = r"^\s*[0-9]{4,10}\s*$")]
    code: String,
    country_code: Option<CountryCode>,
    /// Your reference, or the id that send answered. Without it the target's newest open verification is looked at.
    #[schema(min_length = 1, max_length = 128)]
    record_id: Option<String>,
    /// Open a session for whoever answered, and answer its tokens. The send must have said so too.
    session: Option<bool>,
    /// Answer a proof: a token that says that the target was verified, which anybody can check by
    /// `/.well-known/jwks.json`.
    proof: Option<bool>,
    /// Your end user's IP address: limited to 60 compared wrong guesses in 10 minutes.
    client_ip: Option<String>,
}

/// What became of a guess.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Guessed {
    Right(RightGuess),
    Wrong(WrongGuess),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RightGuess {
    /// Always true.
    pub(crate) valid: bool,
    /// The id of the verification.
    #[schema(format = Uuid)]
    pub(crate) record_id: String,
    #[schema(format = DateTime, example = "2025-07-13T10:30:00.000Z")]
    pub(crate) verified_at: String,
    /// All that the code may have gone to: whoever knew it holds one of these targets, or was told by who does.
    pub(crate) sent_to: Vec<SentTo>,
    /// Only when a live key asked about a sandbox verification: its code was in the inbox, not with a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "sandbox")]
    pub(crate) mode: Option<&'static str>,
    /// Only when it was asked for; null where this verification may not open one: its send did not say `session`, it is a
    /// sandbox one of a live project, or its code went to another target too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionTokens>)]
    pub(crate) session: Option<Option<SessionTokens>>,
    /// Only when it was asked for; null for a sandbox verification of a live project, and where the code went to another
    /// target too. A JWT of type `proof+jwt` that is good for 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) proof: Option<Option<String>>,
}

/// One channel and target that a code went to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SentTo {
    #[schema(value_type = Channel)]
    channel: &'static str,
    /// In canonical form: E.164, or the address in lower case. Null where it cannot be read now.
    #[schema(required, example = "+14155552671")]
    target: Option<String>,
}

impl From<(common::otp::channel::Channel, Option<String>)> for SentTo {
    fn from((channel, target): (common::otp::channel::Channel, Option<String>)) -> Self {
        Self { channel: channel.as_str(), target }
    }
}

/// What a session's user holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionTokens {
    /// A JWT, for `Authorization: Bearer`.
    access_token: String,
    /// Good once, for new tokens; showing a spent one ends the session.
    refresh_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    #[schema(example = 900)]
    expires_in: u64,
    user: User,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    /// The same person in the same project, for ever; the token's `sub`.
    #[schema(format = Uuid)]
    id: String,
}

impl From<Tokens> for SessionTokens {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access,
            refresh_token: tokens.refresh,
            token_type: "Bearer",
            expires_in: ACCESS_LIFE.as_secs(),
            user: User { id: tokens.user.to_string() },
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WrongGuess {
    /// Always false.
    pub(crate) valid: bool,
    #[schema(value_type = WrongReason)]
    pub(crate) reason: &'static str,
    /// Guesses that are left; 0 unless the code was compared.
    pub(crate) attempts_left: i16,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum WrongReason {
    #[schema(rename = "Invalid code")]
    Invalid,
    #[schema(rename = "Code has expired")]
    Expired,
    #[schema(rename = "Code already used")]
    Used,
    #[schema(rename = "Too many attempts")]
    TooMany,
    #[schema(rename = "Verification canceled")]
    Canceled,
    #[schema(rename = "No verification found")]
    NotFound,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document: the door reads field by field, to name each mistake")]
pub(crate) struct CancelRequest {
    /// Your reference, or the id that send answered.
    #[schema(min_length = 1, max_length = 128)]
    record_id: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Canceled {
    /// False when it had ended before.
    pub(crate) canceled: bool,
    /// The id of the verification.
    #[schema(format = Uuid)]
    pub(crate) record_id: String,
    /// How it had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) reason: Option<&'static str>,
}
