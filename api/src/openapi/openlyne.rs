//! The shapes of the openlyne door.
//!
//! They hold targets and codes, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{API_KEY, Door};

pub(crate) const DOOR: Door = Door {
    name: "openlyne",
    about: "A code for a user's id, which brings back the number that it went to. The project is the key's.",
    credentials: &[API_KEY],
    refusals: &[],
};

#[derive(ToSchema)]
#[schema(as = OpenlyneSend)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct SendRequest {
    phone: Phone,
    /// The user. A uid has one open code: a send to another phone ends the one before.
    #[schema(format = Uuid)]
    uid: String,
    /// `sandbox` sends to the inbox with a live key too.
    env: Option<Env>,
}

/// With its country code and without a plus.
#[derive(ToSchema)]
#[schema(as = OpenlynePhone)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum Phone {
    Number(u64),
    Text(String),
}

#[derive(ToSchema)]
#[schema(as = OpenlyneEnv, rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document")]
pub(crate) enum Env {
    Live,
    Sandbox,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenlyneSent)]
pub(crate) struct Sent {
    /// Always true.
    success: bool,
    data: SentTo,
    #[schema(example = "OTP sent successfully")]
    message: &'static str,
    /// Always null.
    error: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenlyneSentTo)]
pub(crate) struct SentTo {
    #[schema(example = "Sent")]
    status: &'static str,
    #[schema(example = "256700123456")]
    number: String,
}

impl Sent {
    pub(crate) const fn to(number: String) -> Self {
        let data = SentTo { status: "Sent", number };
        Self { success: true, data, message: "OTP sent successfully", error: None }
    }
}

#[derive(ToSchema)]
#[schema(as = OpenlyneVerify)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct VerifyRequest {
    #[schema(format = Uuid)]
    uid: String,
    #[schema(example = "123456")]
    code: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenlyneVerified)]
pub(crate) struct Verified {
    /// Always true.
    success: bool,
    data: Contact,
    #[schema(example = "Verification successful")]
    message: &'static str,
    error: Nothing,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenlyneContact)]
pub(crate) struct Contact {
    #[schema(example = "OTP verified successfully")]
    message: &'static str,
    /// The number that the code went to. It is forgotten now.
    #[schema(example = "256700123456")]
    contact_value: String,
    /// Only when a live key asked about a sandbox verification: its code was in the inbox, not with a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "sandbox")]
    mode: Option<&'static str>,
}

/// An empty object.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenlyneNothing)]
pub(crate) struct Nothing {}

impl Verified {
    pub(crate) fn of(contact_value: String, is_foreign: bool) -> Self {
        let data =
            Contact { message: "OTP verified successfully", contact_value, mode: is_foreign.then_some("sandbox") };
        Self { success: true, data, message: "Verification successful", error: Nothing {} }
    }
}

/// A refusal.
#[derive(ToSchema)]
#[schema(as = OpenlyneRefused)]
#[expect(dead_code, reason = "for the document: the door's shape writes it")]
pub(crate) struct Refused {
    /// Always false.
    success: bool,
    /// Always null.
    data: Option<Nothing>,
    #[schema(example = "Invalid OTP")]
    message: String,
    error: RefusedWhy,
}

#[derive(ToSchema)]
#[schema(as = OpenlyneRefusedWhy)]
#[expect(dead_code, reason = "for the document: the door's shape writes it")]
pub(crate) struct RefusedWhy {
    /// Stable, for machines.
    #[schema(example = "invalid_code")]
    code: String,
}
