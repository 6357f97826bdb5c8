//! Amazon SNS: notifications of one topic, signed with a key of our own, and the certificate that shows it.
//!
//! Source: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html (signature version 2).

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use common::otp::time::Timestamp;
use serde_json::{Value, json};

use crate::crypto::base64;
use crate::wire::uuid;

pub(crate) const TOPIC: &str = "arn:aws:sns:eu-west-1:515151515151:otpd-simulated";
pub(crate) const CERTIFICATE: &str = "/SimpleNotificationService-51515151515151515151515151515151.pem";
const PEM_LINE: usize = 64;
/// sha256WithRSAEncryption, with its empty parameters.
const ALGORITHM: [u8; 15] = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b, 5, 0];
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 2;
const BITS: u8 = 3;
const UTC_TIME: u8 = 0x17;

/// Publishes. Its key is made when the first message needs it, which takes a moment.
#[derive(Default)]
pub(crate) struct Publisher {
    key: OnceLock<Option<KeyPair>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publisher")
    }
}

impl Publisher {
    fn key(&self) -> Option<&KeyPair> {
        self.key.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).ok()).as_ref()
    }

    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let key = self.key()?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
        Some(signature)
    }

    /// A notification with this message; its certificate stands below `address`.
    pub(crate) fn notification(&self, message: &str, address: &str, now: Timestamp) -> Option<Value> {
        let (id, timestamp) = (uuid(), now.rfc3339());
        let fields = [
            ("Message", message),
            ("MessageId", &id),
            ("Timestamp", &timestamp),
            ("TopicArn", TOPIC),
            ("Type", "Notification"),
        ];
        let signed: String = fields.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect();
        Some(json!({
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": TOPIC,
            "Message": message,
            "Timestamp": timestamp,
            "SignatureVersion": "2",
            "Signature": base64(&self.sign(signed.as_bytes())?),
            "SigningCertURL": format!("{address}{CERTIFICATE}"),
            "UnsubscribeURL": format!("{address}/?Action=Unsubscribe"),
        }))
    }

    /// The certificate in PEM: of version 3, signed by itself, of nobody in particular.
    pub(crate) fn certificate(&self) -> Option<String> {
        let public = self.key()?.public_key().as_der().ok()?;
        let years = [der(UTC_TIME, b"200101000000Z"), der(UTC_TIME, b"491231235959Z")].concat();
        let body = [
            der(VERSION, &der(INTEGER, &[2])),
            der(INTEGER, &[0x51]),
            ALGORITHM.to_vec(),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &years),
            der(SEQUENCE, &[]),
            public.as_ref().to_vec(),
        ];
        let body = der(SEQUENCE, &body.concat());
        let signature = [vec![0], self.sign(&body)?].concat();
        let certificate = der(SEQUENCE, &[body, ALGORITHM.to_vec(), der(BITS, &signature)].concat());
        let text = base64(&certificate);
        let lines: Vec<_> = text.as_bytes().chunks(PEM_LINE).map(String::from_utf8_lossy).collect();
        Some(format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")))
    }
}

/// One value of the distinguished encoding rules: tag, length, contents.
fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count().min(length.len() - 1)..];
    let mut value = vec![tag];
    if contents.len() >= 0x80 {
        value.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
    }
    value.extend([digits, contents].concat());
    value
}
