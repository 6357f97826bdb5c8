//! What Standard Webhooks sign, by the specification and not by our own code.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

pub(crate) fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let secret = secret.strip_prefix("whsec_").expect("a prefix");
    let key = hmac::Key::new(HMAC_SHA256, &BASE64_STANDARD.decode(secret).expect("base64"));
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, &signed)))
}
