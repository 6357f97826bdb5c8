//! What receipts of vendors have in common: the secret in their address, and our attempt id in its query.

use common::otp::ids::AttemptId;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::{BadReceipt, ReceiptRequest};

impl ReceiptRequest<'_> {
    /// Whether it came to the address that only the vendor was told. Compares in constant time.
    pub(crate) fn check_secret(&self, expected: Option<&SecretString>) -> Result<(), BadReceipt> {
        let expected = expected.ok_or(BadReceipt::NotSupported)?;
        let given = self.secret.ok_or(BadReceipt::Forged)?;
        let fits = bool::from(given.as_bytes().ct_eq(expected.expose_secret().as_bytes()));
        if fits { Ok(()) } else { Err(BadReceipt::Forged) }
    }

    /// The attempt that the callback carried.
    pub(crate) fn attempt(&self) -> Option<AttemptId> {
        let mut query = form_urlencoded::parse(self.query.as_bytes());
        query.find(|(name, _)| name == "attempt").and_then(|(_, id)| id.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ATTEMPT, receipt};

    #[test]
    fn only_the_whole_secret_opens() {
        let secret = SecretString::from("0123456789abcdef");
        let request = receipt("https://otp.example.com/receipts/x", &[], b"");
        for (given, expected) in [
            (Some("0123456789abcdef"), Ok(())),
            (Some("0123456789abcdeF"), Err(BadReceipt::Forged)),
            (Some("0123456789abcde"), Err(BadReceipt::Forged)),
            (Some(""), Err(BadReceipt::Forged)),
            (None, Err(BadReceipt::Forged)),
        ] {
            let request = ReceiptRequest { secret: given, ..request };
            assert_eq!(request.check_secret(Some(&secret)), expected, "{given:?}");
            assert_eq!(request.check_secret(None), Err(BadReceipt::NotSupported));
        }
    }

    #[test]
    fn the_attempt_is_read_from_the_query() {
        let url = format!("https://otp.example.com/receipts/x?a=1&attempt={}", ATTEMPT.replace(':', "%3A"));
        assert_eq!(receipt(&url, &[], b"").attempt().map(|id| id.to_string()).as_deref(), Some(ATTEMPT));
        assert_eq!(receipt("https://otp.example.com/receipts/x?attempt=x", &[], b"").attempt(), None);
    }
}
