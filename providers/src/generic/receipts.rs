//! A vendor's receipts by configuration: who may send them, where they name the message, which words mean what.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::otp::status::ReceiptStatus;
use minijinja::value::Serde;
use minijinja::{Value, context};
use secrecy::SecretString;

use super::answers::expression;
use super::engine::Engine;
use crate::settings::Settings;
use crate::signature::{self, decode_hex};
use crate::words::{anonymous, message_id};
use crate::{BadReceipt, ReceiptEvent, ReceiptRequest};

/// What conditions may name of a receipt.
const RECEIPT: [&str; 2] = ["item", "query"];

pub(super) struct Receipts {
    signature: Option<Signature>,
    /// Where a request holds several.
    each: Option<String>,
    message_id: String,
    attempt: Option<String>,
    /// The conditions of the statuses, in the order in which they are asked.
    statuses: Vec<(ReceiptStatus, String)>,
    detail: Option<String>,
}

/// HMAC-SHA256 over the exact body, in hexadecimal or base64, with or without `sha256=` before it.
struct Signature {
    header: String,
    key: SecretString,
}

impl Receipts {
    pub(super) fn read(settings: &mut Settings<'_>, engine: &Engine) -> Option<Self> {
        let (header, key) = (settings.text("signature_header"), settings.secret("signature_secret"));
        if header.is_some() != key.is_some() {
            settings.problem("signature_secret", "set signature_header and signature_secret, or neither");
        }
        let statuses = [
            ("delivered", ReceiptStatus::Delivered),
            ("undelivered", ReceiptStatus::Undelivered),
            ("sent", ReceiptStatus::Sent),
        ];
        let statuses: Vec<_> = statuses
            .into_iter()
            .filter_map(|(field, status)| Some((status, expression(settings, engine, field, &RECEIPT)?)))
            .collect();
        if statuses.is_empty() {
            settings.problem("delivered", "set it to what tells such receipts, as item.status == 'DELIVERED'");
        }
        let (each, attempt) =
            (expression(settings, engine, "each", &RECEIPT), expression(settings, engine, "attempt", &RECEIPT));
        let detail = expression(settings, engine, "detail", &RECEIPT);
        let message_id = expression(settings, engine, "message_id", &RECEIPT);
        if message_id.is_none() {
            settings.problem("message_id", "set it to where receipts name the message, as item.id");
        }
        let signature = header.zip(key).map(|(header, key)| Signature { header, key });
        Some(Self { signature, each, message_id: message_id?, attempt, statuses, detail })
    }

    /// Whether they are signed, and so need no secret in their address.
    pub(super) const fn are_signed(&self) -> bool {
        self.signature.is_some()
    }

    /// The events of a request that is known to come from the vendor, or that is signed.
    pub(super) fn events(
        &self,
        engine: &Engine,
        request: &ReceiptRequest<'_>,
    ) -> Result<Vec<ReceiptEvent>, BadReceipt> {
        if self.signature.as_ref().is_some_and(|signature| !signature.fits(request)) {
            return Err(BadReceipt::Forged);
        }
        let whole = whole(request)?;
        let query = pairs(request.query.as_bytes());
        let context = |item: &Value| context! { item => item, query => &query };
        let items = match &self.each {
            None => vec![whole],
            Some(each) => {
                let list = engine.find(each, &context(&whole)).ok_or(BadReceipt::Malformed)?;
                list.try_iter().map_err(|_| BadReceipt::Malformed)?.collect()
            }
        };
        let named: Vec<_> = items.iter().filter_map(|item| self.named(engine, &context(item), request)).collect();
        if named.is_empty() && !items.is_empty() {
            return Err(BadReceipt::Malformed);
        }
        Ok(named.into_iter().flatten().collect())
    }

    /// `None` when it names no message, nothing when it says nothing about it.
    fn named(&self, engine: &Engine, item: &Value, request: &ReceiptRequest<'_>) -> Option<Option<ReceiptEvent>> {
        let message_id = message_id(&engine.text(&self.message_id, item)?)?;
        let attempt = self.attempt.as_ref().and_then(|attempt| engine.text(attempt, item)?.parse().ok());
        let status = self.statuses.iter().find(|(_, condition)| engine.holds(condition, item));
        let detail = self.detail.as_ref().and_then(|detail| engine.text(detail, item));
        Some(status.map(|(status, _)| ReceiptEvent {
            message_id,
            attempt: attempt.or_else(|| request.attempt()),
            status: *status,
            detail: detail.map(|detail| anonymous(&detail)),
        }))
    }
}

impl Signature {
    fn fits(&self, request: &ReceiptRequest<'_>) -> bool {
        let Some(given) = request.header(&self.header) else { return false };
        let given = given.trim();
        let given = given.strip_prefix("sha256=").unwrap_or(given);
        let Some(tag) = decode_hex(given).or_else(|| BASE64_STANDARD.decode(given).ok()) else { return false };
        signature::fits(&self.key, request.body, &tag)
    }
}

/// What a request says: its JSON, else the fields of its form, else those of its query.
fn whole(request: &ReceiptRequest<'_>) -> Result<Value, BadReceipt> {
    if request.body.is_empty() {
        return Ok(pairs(request.query.as_bytes()));
    }
    let is_json =
        request.body.trim_ascii_start().starts_with(b"{") || request.body.trim_ascii_start().starts_with(b"[");
    if !is_json {
        return Ok(pairs(request.body));
    }
    let json: serde_json::Value = serde_json::from_slice(request.body).map_err(|_| BadReceipt::Malformed)?;
    Ok(Value::from(Serde(json)))
}

fn pairs(form: &[u8]) -> Value {
    Value::from_pairs(form_urlencoded::parse(form).map(|(name, value)| (name.into_owned(), value.into_owned())))
}
