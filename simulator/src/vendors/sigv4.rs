//! Amazon's Signature Version 4, seen from Amazon's side: whether a request was signed with a secret, and recently.
//!
//! Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.

use common::otp::time::Timestamp;

use crate::crypto::{hex, hmac_sha256, sha256};
use crate::wire::Asked;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the clocks may be apart.
const SKEW_MS: i64 = 15 * 60 * 1000;

/// Who may sign, and for what.
pub(crate) struct Signer {
    pub(crate) key_id: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) region: &'static str,
    pub(crate) service: &'static str,
}

/// The name of an error of Amazon's door, and its words.
pub(crate) type Refused = (&'static str, &'static str);

impl Signer {
    pub(crate) fn check(&self, asked: &Asked<'_>) -> Result<(), Refused> {
        let header = asked.header("authorization");
        let incomplete = ("IncompleteSignatureException", "The request signature does not conform to AWS standards.");
        let parts = header.strip_prefix(ALGORITHM).ok_or(("MissingAuthenticationTokenException", "Missing token"))?;
        let part = |name: &str| parts.split(',').find_map(|part| part.trim().strip_prefix(name)).ok_or(incomplete);
        let (credential, names, signature) = (part("Credential=")?, part("SignedHeaders=")?, part("Signature=")?);
        let (key_id, scope) = credential.split_once('/').ok_or(incomplete)?;
        if key_id != self.key_id {
            return Err(("UnrecognizedClientException", "The security token included in the request is invalid."));
        }
        let date = asked.header("x-amz-date");
        let day = date.get(..8).ok_or(incomplete)?;
        let is_recent = at(date).is_some_and(|at| (at.as_ms() - asked.now.as_ms()).abs() <= SKEW_MS);
        if !is_recent {
            return Err(("InvalidSignatureException", "Signature expired or not yet current"));
        }
        if scope != format!("{day}/{}/{}/aws4_request", self.region, self.service) {
            return Err((
                "SignatureDoesNotMatchException",
                "Credential should be scoped to a valid region and service.",
            ));
        }
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical(asked, names).as_bytes()));
        let parts = [day, self.region, self.service, "aws4_request", &text];
        let secret = format!("AWS4{}", self.secret).into_bytes();
        let tag = parts.iter().fold(secret, |key, part| hmac_sha256(&key, part.as_bytes()));
        let must = ["host", "x-amz-date"].iter().all(|name| names.split(';').any(|signed| signed == *name));
        if !must || hex(&tag) != signature {
            let words = "The request signature we calculated does not match the signature you provided.";
            return Err(("SignatureDoesNotMatchException", words));
        }
        Ok(())
    }
}

fn canonical(asked: &Asked<'_>, names: &str) -> String {
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", asked.header(name).trim())).collect();
    let mut query: Vec<_> = asked.query.split('&').filter(|field| !field.is_empty()).collect();
    query.sort_unstable();
    let (method, path, hash) = (asked.method, asked.whole_path, sha256(asked.body));
    format!("{method}\n{path}\n{}\n{lines}\n{names}\n{hash}", query.join("&"))
}

/// `20150830T123600Z`.
fn at(date: &str) -> Option<Timestamp> {
    let (day, time) = date.split_once('T')?;
    let part = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    let day = [part(day, 0, 4)?, part(day, 4, 6)?, part(day, 6, 8)?].join("-");
    let time = [part(time, 0, 2)?, part(time, 2, 4)?, part(time, 4, 7)?].join(":");
    Timestamp::parse_rfc3339(&format!("{day}T{time}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    const SIGNER: Signer = Signer {
        key_id: "AKIDEXAMPLE",
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service: "service",
    };

    /// The vendor's own vector `post-x-www-form-urlencoded`, with something else in one place.
    fn check(body: &str, signature: &str, now_ms: i64) -> Result<(), Refused> {
        let names = "content-type;host;x-amz-date";
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        let authorization = format!("{ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={signature}");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &authorization),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let asked = Asked {
            method: "POST",
            whole_path: "/",
            path: "/",
            query: "",
            headers: &headers,
            body: body.as_bytes(),
            standing: None,
            now: Timestamp::from_ms(now_ms),
        };
        SIGNER.check(&asked)
    }

    #[test]
    fn the_published_vector_is_believed_and_nothing_else() {
        let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        let then = 1_440_938_160_000;
        assert_eq!(check("Param1=value1", signature, then), Ok(()));
        let name = |checked: Result<(), Refused>| checked.expect_err("a refusal").0;
        assert_eq!(name(check("Param1=value2", signature, then)), "SignatureDoesNotMatchException");
        assert_eq!(name(check("Param1=value1", &signature.replace('f', "e"), then)), "SignatureDoesNotMatchException");
        assert_eq!(name(check("Param1=value1", signature, then + SKEW_MS + 1)), "InvalidSignatureException");
    }
}
