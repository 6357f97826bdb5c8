//! Amazon SNS: what comes from one topic by HTTPS, signed with a key whose certificate stands at Amazon.
//!
//! Sources: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html and …/SendMessageToHttp.html,
//! github.com/aws/aws-js-sns-message-validator.
//!
//! A certificate is fetched from the SNS host of the topic's own region, or from the one that the settings name, and from
//! nowhere else, while whoever asked is told to come again, which SNS does. Who answers there is known by TLS; the certificate's own chain is not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::otp::time::Timestamp;
use reqwest::{Client, Url};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use tokio_util::task::TaskTracker;
use webpki::EndEntityCert;

use crate::{BadReceipt, http};

#[cfg(test)]
mod tests;

/// SNS goes on for up to an hour where a topic's delivery policy says so.
const TOLERANCE: Duration = Duration::from_secs(3600);
/// Certificates that are fetched at once, and that are kept; there is one at a time.
const MOST_FETCHES: usize = 4;
const MOST_KEPT: usize = 16;

/// The topic that is listened to.
pub(crate) struct Topic {
    arn: String,
    /// Below which its certificates and its confirmations are. It ends in a slash.
    base: Url,
    http: Client,
    tasks: TaskTracker,
    certificates: Arc<Mutex<Certificates>>,
}

/// The public keys that are known, by the addresses of their certificates.
#[derive(Default)]
struct Certificates {
    keys: BTreeMap<String, Arc<Vec<u8>>>,
    fetching: BTreeSet<String>,
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.arn)
    }
}

/// What SNS posts.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Posted {
    r#type: String,
    message_id: String,
    topic_arn: String,
    message: String,
    timestamp: String,
    // One that is not signed at all is forged, too.
    #[serde(default)]
    signature_version: String,
    #[serde(default)]
    signature: String,
    #[serde(rename = "SigningCertURL", default)]
    signing_cert_url: String,
    subject: Option<String>,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
}

impl Topic {
    /// `None` when that is no topic's name: `arn:aws:sns:eu-west-1:123456789012:name`.
    pub(crate) fn new(arn: &str, http: Client, tasks: TaskTracker) -> Option<Self> {
        let parts: Vec<_> = arn.split(':').collect();
        let ["arn", partition, "sns", region, _account, _name] = parts.as_slice() else { return None };
        let is_region = region.len() > 2 && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let domain = if *partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let base = Url::parse(&format!("https://sns.{region}.{domain}/")).ok().filter(|_| is_region)?;
        Some(Self { arn: arn.to_owned(), base, http, tasks, certificates: Arc::default() })
    }

    /// The same topic at another SNS than Amazon's.
    pub(crate) fn at(mut self, mut base: Url) -> Self {
        base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        self.base = base;
        self
    }

    /// The message that was published, when this is one. A question whether we want messages is answered on the side.
    pub(crate) fn read(&self, body: &[u8], now: Timestamp) -> Result<Option<String>, BadReceipt> {
        let posted: Posted = serde_json::from_slice(body).map_err(|_| BadReceipt::Malformed)?;
        let said = Timestamp::parse_rfc3339(&posted.timestamp).ok_or(BadReceipt::Malformed)?;
        if posted.topic_arn != self.arn || said.since(now).max(now.since(said)) > TOLERANCE {
            return Err(BadReceipt::Forged);
        }
        let key = self.key(&posted.signing_cert_url)?;
        if !posted.is_signed_by(&key) {
            return Err(BadReceipt::Forged);
        }
        match posted.r#type.as_str() {
            "Notification" => Ok(Some(posted.message)),
            "SubscriptionConfirmation" => {
                let url = posted.subscribe_url.as_deref().and_then(|url| self.ours(url));
                self.confirm(url.ok_or(BadReceipt::Forged)?);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// The URL, if it is where the topic's own are.
    fn ours(&self, text: &str) -> Option<Url> {
        let url = http::endpoint(text, false)?;
        (url.origin() == self.base.origin() && url.path().starts_with(self.base.path())).then_some(url)
    }

    fn key(&self, url: &str) -> Result<Arc<Vec<u8>>, BadReceipt> {
        let is_ours = |url: &Url| url.path().strip_prefix(self.base.path()).is_some_and(is_certificate);
        let address = self.ours(url).filter(is_ours).ok_or(BadReceipt::Forged)?;
        let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = certificates.keys.get(url) {
            return Ok(Arc::clone(key));
        }
        if certificates.fetching.len() < MOST_FETCHES && certificates.fetching.insert(url.to_owned()) {
            self.tasks.spawn(fetch(self.http.clone(), address, url.to_owned(), Arc::clone(&self.certificates)));
        }
        Err(BadReceipt::NotYet)
    }

    /// What comes of it is seen by the messages that follow.
    fn confirm(&self, url: Url) {
        let request = self.http.get(url);
        self.tasks.spawn(async move {
            let _ = http::exchange(request).await;
        });
    }
}

/// `SimpleNotificationService-0123456789abcdef.pem`.
fn is_certificate(path: &str) -> bool {
    let name = path.strip_prefix("SimpleNotificationService-").and_then(|name| name.strip_suffix(".pem"));
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

async fn fetch(http: Client, address: Url, url: String, certificates: Arc<Mutex<Certificates>>) {
    let reply = http::exchange(http.get(address)).await.ok().filter(|reply| reply.status == 200);
    let key = reply.and_then(|reply| public_key(&reply.body));
    let mut certificates = certificates.lock().unwrap_or_else(PoisonError::into_inner);
    certificates.fetching.remove(&url);
    if certificates.keys.len() >= MOST_KEPT {
        certificates.keys.clear();
    }
    if let Some(key) = key {
        certificates.keys.insert(url, Arc::new(key));
    }
}

/// The key of a certificate in PEM, as SubjectPublicKeyInfo.
fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let key = EndEntityCert::try_from(&certificate).ok()?.subject_public_key_info().to_vec();
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key).ok().map(|_| key)
}

impl Posted {
    fn is_signed_by(&self, key: &[u8]) -> bool {
        let key = match self.signature_version.as_str() {
            "1" => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key),
            "2" => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key),
            _ => return false,
        };
        let (Ok(key), Ok(signature)) = (key, BASE64_STANDARD.decode(&self.signature)) else { return false };
        key.verify_sig(self.signed().as_bytes(), &signature).is_ok()
    }

    /// Names and values, a line each, in the order of their names.
    fn signed(&self) -> String {
        let asks = self.r#type != "Notification";
        let all = [
            ("Message", Some(&self.message)),
            ("MessageId", Some(&self.message_id)),
            ("Subject", self.subject.as_ref().filter(|_| !asks)),
            ("SubscribeURL", self.subscribe_url.as_ref().filter(|_| asks)),
            ("Timestamp", Some(&self.timestamp)),
            ("Token", self.token.as_ref().filter(|_| asks)),
            ("TopicArn", Some(&self.topic_arn)),
            ("Type", Some(&self.r#type)),
        ];
        all.into_iter().filter_map(|(name, value)| Some(format!("{name}\n{}\n", value?))).collect()
    }
}
