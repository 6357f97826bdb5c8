//! Amazon SES: e-mail by its v2 API, with the events of a configuration set by SNS.
//!
//! Sources: docs.aws.amazon.com/ses/latest/APIReference-V2 (SendEmail, GetAccount, common errors), the service's published
//! model, …/ses/latest/dg/event-publishing-retrieving-sns-contents.html.

use common::otp::time::Timestamp;
use serde_json::{Map, Value, json};

use super::sigv4::Signer;
use super::sns::{CERTIFICATE, Publisher, TOPIC};
use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::wire::{Answer, Asked, hex_id, is_address, stranger, text, uuid};

const SIGNER: Signer =
    Signer { key_id: "AKIASIMULATED", secret: "simulated-secret-access-key", region: "eu-west-1", service: "ses" };
const FROM: &str = "otp@simulated.example";
const CONFIGURATION_SET: &str = "simulated";
/// Where the topic's certificate is, below the vendor's own path.
const SNS: &str = "/sns";
const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "FromEmailAddress",
            "FromEmailAddressIdentityArn",
            "Destination",
            "ReplyToAddresses",
            "FeedbackForwardingEmailAddress",
            "FeedbackForwardingEmailAddressIdentityArn",
            "Content",
            "EmailTags",
            "ConfigurationSetName",
            "EndpointId",
            "TenantName",
            "ListManagementOptions",
        ],
    ),
    ("/Destination", &["ToAddresses", "CcAddresses", "BccAddresses"]),
    ("/Content", &["Simple", "Raw", "Template"]),
    ("/Content/Simple", &["Subject", "Body", "Headers", "Attachments"]),
    ("/Content/Simple/Subject", &["Data", "Charset"]),
    ("/Content/Simple/Body", &["Text", "Html"]),
    ("/Content/Simple/Body/Text", &["Data", "Charset"]),
    ("/Content/Simple/Headers/0", &["Name", "Value"]),
    ("/EmailTags/0", &["Name", "Value"]),
];

#[derive(Debug)]
pub(crate) struct Ses {
    sns_url: String,
    publisher: Publisher,
}

impl Ses {
    /// At the simulator's own address.
    pub(crate) fn new(url: &str) -> Self {
        Self { sns_url: format!("{}/ses{SNS}", url.trim_end_matches('/')), publisher: Publisher::default() }
    }
}

fn refused(status: u16, name: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message})).with("x-amzn-errortype", name)
}

fn bad_request(message: &str) -> Answer {
    refused(400, "BadRequestException", message)
}

fn unrecognised() -> Answer {
    refused(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
}

impl Vendor for Ses {
    fn name(&self) -> &'static str {
        "ses"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("access_key_id", SIGNER.key_id.to_owned()),
            ("secret_access_key", SIGNER.secret.to_owned()),
            ("region", SIGNER.region.to_owned()),
            ("from", format!("Simulated <{FROM}>")),
            ("configuration_set", CONFIGURATION_SET.to_owned()),
            ("topic_arn", TOPIC.to_owned()),
            ("sns_url", self.sns_url.clone()),
        ]
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if asked.path.strip_prefix(SNS) == Some(CERTIFICATE) {
            let pem = self.publisher.certificate().ok_or_else(|| Answer::empty(500))?;
            return Ok(Read::Other(Answer::text(200, &pem)));
        }
        if !asked.is_welcome() {
            return Err(unrecognised());
        }
        SIGNER.check(asked).map_err(|(name, message)| refused(403, name, message))?;
        match (asked.method, asked.path) {
            ("POST", "/v2/email/outbound-emails") => message(asked).map(Read::Message),
            ("GET", "/v2/email/account") => {
                let sent = if asked.is_broke() { 50_000.0 } else { 12.0 };
                let quota = json!({"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": sent});
                let body = json!({"SendingEnabled": asked.standing != Some(Refusal::Sender), "SendQuota": quota,
                                  "ProductionAccessEnabled": true, "EnforcementStatus": "HEALTHY"});
                Ok(Read::Other(Answer::json(200, &body)))
            }
            _ => Err(refused(404, "UnknownOperationException", "")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        Answer::json(200, &json!({"MessageId": message.id}))
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => unrecognised(),
            Refusal::Balance => refused(429, "TooManyRequestsException", "Daily message quota exceeded."),
            Refusal::Sender => refused(400, "SendingPausedException", "Sending is paused for the account."),
            Refusal::Rejected => bad_request("Domain contains illegal character"),
            Refusal::Throttled => refused(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
            Refusal::Unavailable => refused(503, "ServiceUnavailableException", "The service is unavailable."),
            Refusal::Ip => return None,
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        // Events are of a configuration set.
        message.echo.get("ses:configuration-set")?;
        let mut event = json!({"mail": {
            "timestamp": message.at.rfc3339(),
            "source": message.from,
            "messageId": message.id,
            "destination": [message.to],
            "tags": message.echo,
        }});
        match news {
            News::Sent => {
                event["eventType"] = "Send".into();
                event["send"] = json!({});
            }
            News::Delivered => {
                event["eventType"] = "Delivery".into();
                event["delivery"] = json!({"timestamp": now.rfc3339(), "recipients": [message.to],
                                           "smtpResponse": "250 2.6.0 Message received"});
            }
            News::Failed => {
                let recipient = json!({"emailAddress": message.to, "action": "failed", "status": "5.1.1",
                                       "diagnosticCode": "smtp; 550 5.1.1 user unknown"});
                event["eventType"] = "Bounce".into();
                event["bounce"] = json!({"bounceType": "Permanent", "bounceSubType": "General",
                                         "bouncedRecipients": [recipient], "timestamp": now.rfc3339(),
                                         "feedbackId": hex_id(32)});
            }
        }
        let notification = self.publisher.notification(&event.to_string(), &self.sns_url, now)?;
        let headers = vec![
            ("content-type", "text/plain; charset=UTF-8".to_owned()),
            ("x-amz-sns-message-type", "Notification".to_owned()),
            ("x-amz-sns-topic-arn", TOPIC.to_owned()),
        ];
        Some(Post { callback: None, headers, body: notification.to_string() })
    }
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let body = asked.json().ok_or_else(|| bad_request("The body is no JSON object"))?;
    if let Some(name) = stranger(&body, KNOWN) {
        return Err(bad_request(&format!("Unknown member: {name}")));
    }
    let (from, to) = (text(&body, "/FromEmailAddress"), text(&body, "/Destination/ToAddresses/0"));
    let address = from.rsplit_once('<').map_or(from, |(_, address)| address.trim_end_matches('>'));
    if !is_address(to) {
        return Err(bad_request("Missing final '@domain'"));
    }
    if address != FROM {
        let words = "Email address is not verified. The following identities failed the check in region EU-WEST-1";
        return Err(refused(400, "MessageRejected", words));
    }
    let subject = text(&body, "/Content/Simple/Subject/Data");
    let words = text(&body, "/Content/Simple/Body/Text/Data");
    if subject.is_empty() || (words.is_empty() && text(&body, "/Content/Simple/Body/Html/Data").is_empty()) {
        return Err(bad_request("Content is empty"));
    }
    let set = body.get("ConfigurationSetName").and_then(Value::as_str);
    if let Some(set) = set.filter(|set| *set != CONFIGURATION_SET) {
        let words = format!("Configuration set <{set}> does not exist.");
        return Err(refused(404, "NotFoundException", &words));
    }
    Ok(Message {
        id: format!("0102{}-{}-000000", hex_id(12), uuid()),
        channel: "email",
        from: from.to_owned(),
        to: to.to_owned(),
        text: words.to_owned(),
        echo: tags(&body["EmailTags"], set).ok_or_else(|| bad_request("Invalid tag value"))?,
        callback: None,
        at: asked.now,
    })
}

/// As events have them: lists of values by name, the configuration set among them.
fn tags(listed: &Value, set: Option<&str>) -> Option<Value> {
    let is_plain = |text: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@');
        !text.is_empty() && text.len() <= 256 && text.bytes().all(fits)
    };
    let mut tags = Map::new();
    for tag in listed.as_array().into_iter().flatten() {
        let part = |name: &str| tag[name].as_str().filter(is_plain);
        tags.insert(part("Name")?.to_owned(), json!([part("Value")?]));
    }
    if let Some(set) = set {
        tags.insert("ses:configuration-set".to_owned(), json!([set]));
    }
    Some(tags.into())
}
