//! The shapes of the login door and of the one that is built like it.
//!
//! They hold targets, codes and tokens, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CLOSED, Door, LIMITED};

pub(crate) const DOOR: Door = Door {
    name: "login",
    about: "A phone number and its code for a token. No key: the door acts for the project that `doors.login.project` names.",
    credentials: &[],
    refusals: &[CLOSED, LIMITED],
};

/// A refusal, in words.
#[derive(ToSchema)]
#[schema(as = Message, example = json!({ "message": "Phone number is required" }))]
#[expect(dead_code, reason = "for the document: the door's shape writes it")]
pub(crate) struct Message {
    message: String,
}

#[derive(ToSchema)]
#[schema(as = LoginSend, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct SendRequest {
    /// E.164, or national where the door has a `default_region`.
    #[schema(example = "+14155552671")]
    phone_number: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Sent {
    #[schema(example = "OTP sent successfully")]
    pub(crate) message: &'static str,
}

#[derive(ToSchema)]
#[schema(as = LoginVerify, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct VerifyRequest {
    #[schema(example = "+14155552671")]
    phone_number: String,
    #[schema(example = "123456")]
    otp: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SignedIn {
    /// An access token: a JWT that is good for 15 minutes.
    pub(crate) token: String,
}
