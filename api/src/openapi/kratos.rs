//! The shapes of Ory Kratos's courier: the body that docs/integrations/kratos.jsonnet makes, and the answer.
//!
//! Messages hold targets and codes, and so none of them is `Debug`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{API_KEY, Door};

pub(crate) const DOOR: Door = Door {
    name: "kratos",
    about: "Ory Kratos's HTTP courier: it makes and checks its codes, otpd delivers them. For keys made with `--own-codes`; the \
        project is the key's. Kratos tries again, up to 5 times, whatever is not answered with 2xx.",
    credentials: &[API_KEY],
    refusals: &[("403", "The key may not bring codes of its caller's own")],
};

/// A message of the courier. Its subject and body are ignored: the words are otpd's.
#[derive(ToSchema)]
#[schema(as = KratosMessage)]
#[expect(dead_code, reason = "for the document")]
pub(crate) struct Message {
    /// An e-mail address, or a phone number in E.164: then it goes by SMS.
    #[schema(example = "+14155552671")]
    recipient: String,
    #[schema(pattern = "^[a-z_]{1,64}$", example = "login_code_valid")]
    template_type: String,
    /// Without one nothing is sent. Templates whose name ends in `_code_valid` must have one.
    #[schema(pattern = r"^\s*([0-9]{4,10}\s*)?$", example = "561166")]
    code: Option<String>,
    /// How long Kratos takes the code; otpd delivers it for 10 minutes at most. The project's life when absent.
    #[schema(minimum = 0, maximum = 525_600, example = 10)]
    expires_in_minutes: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KratosAnswer)]
pub(crate) struct Taken {
    /// Whether it will be delivered. False for messages without a code: links and notices are not carried.
    pub(crate) queued: bool,
}
