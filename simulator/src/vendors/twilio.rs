//! Twilio Programmable Messaging: SMS and WhatsApp.
//!
//! Sources: the published OpenAPI document (twilio_api_v2010), twilio.com/docs/api/errors,
//! twilio.com/docs/usage/webhooks/webhooks-security.

use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::crypto::{base64, hmac_sha1};
use crate::wire::{Answer, Asked, Fields, hex_id, is_e164, is_url, rfc2822, strange_field};

const ACCOUNT: &str = "AC51510000000000000000000000000000";
const TOKEN: &str = "simulated-auth-token";
const FROM: &str = "+15005550006";
const WHATSAPP_FROM: &str = "whatsapp:+14155238886";
const API: &str = "/2010-04-01/Accounts/";
const LONGEST_TEXT: usize = 1600;
const LONGEST_VALIDITY_S: u32 = 36_000;
const FIELDS: [&str; 24] = [
    "To",
    "From",
    "MessagingServiceSid",
    "Body",
    "ContentSid",
    "ContentVariables",
    "MediaUrl",
    "StatusCallback",
    "ApplicationSid",
    "MaxPrice",
    "ProvideFeedback",
    "Attempt",
    "ValidityPeriod",
    "ForceDelivery",
    "ContentRetention",
    "AddressRetention",
    "SmartEncoded",
    "PersistentAction",
    "TrafficType",
    "ShortenUrls",
    "ScheduleType",
    "SendAt",
    "SendAsMms",
    "RiskCheck",
];

#[derive(Debug)]
pub(crate) struct Twilio;

fn refused(status: u16, code: u32, message: &str) -> Answer {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    Answer::json(status, &json!({"code": code, "message": message, "more_info": more, "status": status}))
}

impl Vendor for Twilio {
    fn name(&self) -> &'static str {
        "twilio"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("account_sid", ACCOUNT.to_owned()),
            ("auth_token", TOKEN.to_owned()),
            ("from", FROM.to_owned()),
            ("whatsapp_from", WHATSAPP_FROM.to_owned()),
        ]
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        let not_found = || refused(404, 20404, &format!("The requested resource {} was not found", asked.path));
        let resource = asked.path.strip_prefix(API).ok_or_else(not_found)?;
        if !asked.has_basic(ACCOUNT, TOKEN) {
            return Err(refused(401, 20003, "Authenticate"));
        }
        let resource = resource.strip_prefix(ACCOUNT).ok_or_else(not_found)?;
        match (asked.method, resource) {
            ("POST", "/Messages.json") => message(asked).map(Read::Message),
            ("GET", ".json") => Ok(Read::Other(Answer::json(200, &account(asked)))),
            ("GET", "/Balance.json") => {
                let balance = if asked.is_broke() { "0.00" } else { "20.51" };
                let body = json!({"account_sid": ACCOUNT, "balance": balance, "currency": "USD"});
                Ok(Read::Other(Answer::json(200, &body)))
            }
            _ => Err(not_found()),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        let uri = format!("{API}{ACCOUNT}/Messages/{}.json", message.id);
        let at = rfc2822(message.at);
        let body = json!({
            "account_sid": ACCOUNT,
            "api_version": "2010-04-01",
            "body": message.text,
            "date_created": at,
            "date_sent": null,
            "date_updated": at,
            "direction": "outbound-api",
            "error_code": null,
            "error_message": null,
            "from": message.from,
            "messaging_service_sid": null,
            "num_media": "0",
            "num_segments": "1",
            "price": null,
            "price_unit": "USD",
            "sid": message.id,
            "status": "queued",
            "subresource_uris": {"media": uri.replace(".json", "/Media.json")},
            "to": message.to,
            "uri": uri,
        });
        Answer::json(201, &body)
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => refused(401, 20003, "Authenticate"),
            Refusal::Balance => refused(401, 20005, "Account not active"),
            Refusal::Sender => refused(400, 21606, "The 'From' phone number is not a valid, SMS-capable number"),
            Refusal::Rejected => refused(400, 21614, "'To' number is not a valid mobile number"),
            Refusal::Throttled => refused(429, 20429, "Too Many Requests").with("retry-after", "1"),
            Refusal::Unavailable => refused(503, 20503, "Service unavailable"),
            Refusal::Ip => return None,
        })
    }

    fn receipt(&self, message: &Message, news: News, _: Timestamp) -> Option<Post> {
        let callback = message.callback.clone()?;
        let status = match news {
            News::Sent => "sent",
            News::Delivered => "delivered",
            News::Failed => "undelivered",
        };
        let mut fields: Vec<(&str, &str)> = vec![
            ("AccountSid", ACCOUNT),
            ("ApiVersion", "2010-04-01"),
            ("From", &message.from),
            ("MessageSid", &message.id),
            ("MessageStatus", status),
            ("SmsSid", &message.id),
            ("SmsStatus", status),
            ("To", &message.to),
        ];
        if news == News::Failed {
            // A handset that is not there, and a number that is not on WhatsApp.
            fields.insert(2, ("ErrorCode", if message.channel == "whatsapp" { "63024" } else { "30005" }));
        }
        // Sorted by name, which they are.
        let signed = fields.iter().fold(callback.clone(), |text, (name, value)| text + name + value);
        let signature = base64(&hmac_sha1(TOKEN.as_bytes(), signed.as_bytes()));
        let mut body = form_urlencoded::Serializer::new(String::new());
        let headers = vec![
            ("content-type", "application/x-www-form-urlencoded; charset=UTF-8".to_owned()),
            ("x-twilio-signature", signature),
        ];
        Some(Post { callback: Some(callback), headers, body: body.extend_pairs(fields).finish() })
    }
}

fn account(asked: &Asked<'_>) -> Value {
    let at = rfc2822(asked.now);
    json!({
        "sid": ACCOUNT,
        "owner_account_sid": ACCOUNT,
        "friendly_name": "Simulated",
        "status": "active",
        "type": "Full",
        "date_created": at,
        "date_updated": at,
        "uri": format!("{API}{ACCOUNT}.json"),
    })
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let fields = asked.form().ok_or_else(|| refused(400, 20001, "Unknown parameters"))?;
    if let Some(name) = strange_field(&fields, &FIELDS) {
        return Err(refused(400, 20001, &format!("Unknown parameters: {name}")));
    }
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let (to, from) = (field("To"), field("From"));
    check_numbers(to, from, field("MessagingServiceSid"))?;
    let text = [field("Body"), field("ContentVariables")].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    check_content(&fields, text)?;
    let callback = fields.get("StatusCallback").cloned();
    if callback.as_ref().is_some_and(|url| !is_url(url)) {
        return Err(refused(400, 21609, "The 'StatusCallback' URL is not a valid URL."));
    }
    Ok(Message {
        id: format!("SM{}", hex_id(32)),
        channel: if to.starts_with("whatsapp:") { "whatsapp" } else { "sms" },
        from: from.to_owned(),
        to: to.to_owned(),
        text: text.to_owned(),
        echo: Value::Null,
        callback,
        at: asked.now,
    })
}

fn check_numbers(to: &str, from: &str, service: &str) -> Result<(), Answer> {
    if to.is_empty() {
        return Err(refused(400, 21604, "A 'To' phone number is required."));
    }
    if from.is_empty() && service.is_empty() {
        return Err(refused(400, 21603, "A 'From' phone number is required."));
    }
    if !is_e164(to.strip_prefix("whatsapp:").unwrap_or(to)) {
        return Err(refused(400, 21211, &format!("The 'To' number {to} is not a valid phone number.")));
    }
    let is_whatsapp = to.starts_with("whatsapp:");
    if is_whatsapp && from != WHATSAPP_FROM {
        return Err(refused(400, 63007, "Twilio could not find a Channel with the specified From address"));
    }
    if !is_whatsapp && !from.is_empty() && from != FROM {
        let message = format!("The From phone number {from} is not a valid, SMS-capable inbound phone number");
        return Err(refused(400, 21606, &message));
    }
    Ok(())
}

fn check_content(fields: &Fields, text: &str) -> Result<(), Answer> {
    if text.is_empty() {
        return Err(refused(400, 21602, "Message body is required."));
    }
    if text.chars().count() > LONGEST_TEXT {
        return Err(refused(400, 21617, "The concatenated message body exceeds the 1600 character limit."));
    }
    let validity = fields.get("ValidityPeriod").map(|seconds| seconds.parse::<u32>());
    if validity.is_some_and(|seconds| !seconds.is_ok_and(|seconds| (1..=LONGEST_VALIDITY_S).contains(&seconds))) {
        return Err(refused(400, 21705, "The 'ValidityPeriod' must be between 1 and 36000 seconds."));
    }
    Ok(())
}
