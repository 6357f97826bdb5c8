//! Amazon's Signature Version 4, as far as a JSON API needs it: one header, no query, no chunks.
//!
//! Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use common::otp::time::Timestamp;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::signature::encode_hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
pub(crate) const DATE: &str = "x-amz-date";
pub(crate) const SESSION_TOKEN: &str = "x-amz-security-token";

pub(crate) struct Signer {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: SecretString,
    /// Of credentials that are lent for a while.
    pub(crate) session_token: Option<SecretString>,
    pub(crate) region: String,
    pub(crate) service: &'static str,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} in {})", self.access_key_id, self.region)
    }
}

/// What is signed of a request: `content_type` is empty where there is none.
#[derive(Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
}

/// The headers that a signed request needs beside its `content-type`.
pub(crate) struct Signed {
    pub(crate) date: String,
    pub(crate) authorization: String,
}

impl Signer {
    pub(crate) fn sign(&self, request: Unsigned<'_>, now: Timestamp) -> Signed {
        let date = basic(now);
        let headers = self.headers(request, &date);
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let (method, path) = (request.method, request.url.path());
        let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{}", hash(request.body));
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
        let signature = encode_hex(sign(&self.key(day), to_sign.as_bytes()).as_ref());
        let credential = format!("Credential={}/{scope}", self.access_key_id);
        let authorization = format!("{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}");
        Signed { date, authorization }
    }

    /// Those that are signed, by name.
    fn headers<'a>(&'a self, request: Unsigned<'a>, date: &'a str) -> Vec<(&'static str, String)> {
        let host = request.url.host_str().unwrap_or_default();
        let host = request.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let token = self.session_token.as_ref().map_or("", ExposeSecret::expose_secret);
        let all = [
            ("content-type", request.content_type.to_owned()),
            ("host", host),
            (DATE, date.to_owned()),
            (SESSION_TOKEN, token.to_owned()),
        ];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// A key for this day, region and service alone.
    fn key(&self, day: &str) -> Key {
        let secret = Zeroizing::new(format!("AWS4{}", self.secret_access_key.expose_secret()));
        let parts = [day, &self.region, self.service, "aws4_request"];
        parts.iter().fold(Key::new(HMAC_SHA256, secret.as_bytes()), |key, part| {
            Key::new(HMAC_SHA256, sign(&key, part.as_bytes()).as_ref())
        })
    }
}

fn hash(bytes: &[u8]) -> String {
    encode_hex(digest(&SHA256, bytes).as_ref())
}

/// `20150830T123600Z`.
fn basic(now: Timestamp) -> String {
    let text = now.rfc3339();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signer of the vendor's own test suite.
    fn signer(session_token: Option<&str>) -> Signer {
        Signer {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: session_token.map(SecretString::from),
            region: "us-east-1".to_owned(),
            service: "service",
        }
    }

    #[track_caller]
    fn check(method: &str, content_type: &str, body: &str, names: &str, signature: &str) {
        let url = Url::parse("https://example.amazonaws.com/").expect("a URL");
        let now = Timestamp::from_ms(1_440_938_160_000);
        let signed = signer(None).sign(Unsigned { method, url: &url, content_type, body: body.as_bytes() }, now);
        assert_eq!(signed.date, "20150830T123600Z");
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        let expected = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}");
        assert_eq!(signed.authorization, expected);
    }

    #[test]
    fn the_published_vectors_are_signed_so() {
        let vanilla = "host;x-amz-date";
        check("GET", "", "", vanilla, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        check("POST", "", "", vanilla, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
        let (form, names) = ("application/x-www-form-urlencoded", "content-type;host;x-amz-date");
        let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        check("POST", form, "Param1=value1", names, signature);
    }

    #[test]
    fn a_port_and_a_token_are_signed_and_no_secret_shows() {
        let url = Url::parse("http://127.0.0.1:8080/v2/email/account").expect("a URL");
        let request = Unsigned { method: "GET", url: &url, content_type: "", body: b"" };
        let signer = signer(Some("borrowed"));
        let headers = signer.headers(request, "20150830T123600Z");
        let expected = [("host", "127.0.0.1:8080"), (DATE, "20150830T123600Z"), (SESSION_TOKEN, "borrowed")];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
        let shown = format!("{signer:?} {}", signer.sign(request, Timestamp::from_ms(0)).authorization);
        assert!(!shown.contains("wJalr") && !shown.contains("borrowed"), "{shown}");
    }
}
