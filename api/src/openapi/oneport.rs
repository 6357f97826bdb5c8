//! The shapes of the 1port door: what it answers is what login answers.
//!
//! They hold targets and codes, and so none of them is `Debug`.

use utoipa::ToSchema;

use super::{CLOSED, Door, LIMITED};

pub(crate) const DOOR: Door = Door {
    name: "1port",
    about: "The login door with other names. No key: the door acts for the project that `doors.1port.project` names.",
    credentials: &[],
    refusals: &[CLOSED, LIMITED],
};

#[derive(ToSchema)]
#[schema(as = OneportSend)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct SendRequest {
    /// E.164, or national where the door has a `default_region`.
    #[schema(example = "+998901234567")]
    phone: String,
}

#[derive(ToSchema)]
#[schema(as = OneportVerify)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct VerifyRequest {
    #[schema(example = "+998901234567")]
    phone: String,
    #[schema(example = "123456")]
    otp: String,
}
