//! The shapes of the demo door. They hold targets and tokens, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CLOSED, Door};

pub(crate) const DOOR: Door = Door {
    name: "demo",
    about: "A page to log in with, for trying: in `otpd dev` alone. Its forms answer what the page's script shows, and with \
        `Accept: text/html` the page again.",
    credentials: &[],
    refusals: &[CLOSED],
};

/// What the page shows.
#[derive(Serialize, ToSchema)]
#[schema(as = DemoView)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) step: Step,
    pub(crate) title: String,
    pub(crate) heading: &'static str,
    pub(crate) status: String,
    pub(crate) error: String,
    /// The error is about what was typed.
    pub(crate) invalid: bool,
    /// As it was typed, or, once a code has gone there, as that was addressed.
    pub(crate) target: String,
    /// How long codes are.
    pub(crate) digits: u8,
    /// Where to find the code, where none goes out.
    pub(crate) note: &'static str,
    /// Seconds until another code may be asked for; absent where that has not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) resend_in: Option<u64>,
    /// For the script: an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) token: Option<String>,
    /// What `GET /api/me` answers, for the page without a script.
    pub(crate) me: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DemoStep)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    Ask,
    Code,
    Done,
}

/// A refusal, for the script; where the page moves on, the rest of what it shows is there too.
#[derive(Serialize, ToSchema)]
#[schema(as = DemoError)]
pub(crate) struct Refusal {
    pub(crate) error: String,
}

#[derive(ToSchema)]
#[schema(as = DemoSend)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct SendForm {
    /// A phone number in E.164, or an e-mail address.
    target: String,
    /// `code` where another one is asked for.
    step: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = DemoVerify)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct VerifyForm {
    target: String,
    /// Spaces and dashes in it are ignored.
    code: String,
}
