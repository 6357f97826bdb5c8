//! The shapes of the mobile door.
//!
//! They hold targets, codes and tokens, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CLOSED, Door};

pub(crate) const DOOR: Door = Door {
    name: "mobile",
    about: "A number and its code for tokens. No key: the door acts for the project that `doors.mobile.project` names.",
    credentials: &[],
    refusals: &[CLOSED],
};

#[derive(ToSchema)]
#[schema(as = MobileSend)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct SendRequest {
    /// In national form of the door's `default_region`, or E.164.
    #[schema(example = "09123456789")]
    mobile: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MobileSent)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sent {
    #[schema(example = "OTP code has been sent to mobile")]
    pub(crate) message: &'static str,
    /// The code of a test number of a sandbox project; never there for any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "4444")]
    pub(crate) temp_otp: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = MobileVerify)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct VerifyRequest {
    #[schema(example = "09123456789")]
    mobile: String,
    #[schema(example = "123456")]
    code: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MobileSignedIn)]
pub(crate) struct SignedIn {
    pub(crate) data: SignedInData,
    #[schema(example = "OTP successfully validated")]
    pub(crate) message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MobileSignedInData)]
pub(crate) struct SignedInData {
    pub(crate) tokens: Tokens,
    pub(crate) user: User,
    /// Always these two.
    pub(crate) permissions: [&'static str; 2],
}

#[derive(Serialize, ToSchema)]
#[schema(as = MobileTokens)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tokens {
    /// A JWT that is good for 15 minutes.
    pub(crate) access_token: String,
    /// Works once, for 30 days.
    pub(crate) refresh_token: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MobileUser)]
pub(crate) struct User {
    /// The same person in the same project, for ever.
    #[schema(format = Uuid)]
    pub(crate) id: String,
    /// As it was sent.
    #[schema(example = "09123456789")]
    pub(crate) mobile: String,
    /// Always null: nothing of it is known here.
    pub(crate) name: Option<&'static str>,
    /// Always null.
    pub(crate) email: Option<&'static str>,
    #[schema(example = 1)]
    pub(crate) status: u8,
}

#[derive(ToSchema)]
#[schema(as = MobileRefresh, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct RefreshRequest {
    /// The newest refresh token of the session.
    #[schema(min_length = 1)]
    refresh_token: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MobileRenewed)]
pub(crate) struct Renewed {
    pub(crate) data: RenewedData,
    #[schema(example = "Tokens renewed successfully")]
    pub(crate) message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MobileRenewedData)]
pub(crate) struct RenewedData {
    pub(crate) tokens: Tokens,
}

/// A refusal.
#[derive(ToSchema)]
#[schema(as = MobileRefused, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document: the door's shape writes it")]
pub(crate) struct Refused {
    #[schema(example = 400)]
    status_code: u16,
    #[schema(example = "Please insert valid mobile")]
    message: String,
}
