//! Infobip: SMS (API version 3) and WhatsApp.
//!
//! Sources: infobip.com/docs/api/channels/sms, …/channels/whatsapp, …/docs/essentials/response-status-and-error-codes,
//! and the generated clients. A message that it will not carry is refused in the body, under 200.

use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::wire::{Answer, Asked, is_digits, is_url, stranger, text, uuid};

const KEY: &str = "simulated-api-key";
const FROM: &str = "Simulated";
const WHATSAPP_FROM: &str = "447860099299";
const SECRET: &str = "simulated-infobip-receipts";
const SMS: &str = "/sms/3/messages";
const WHATSAPP_TEXT: &str = "/whatsapp/1/message/text";
const WHATSAPP_TEMPLATE: &str = "/whatsapp/1/message/template";
const KNOWN_SMS: &[(&str, &[&str])] = &[
    ("", &["messages", "options"]),
    ("/messages/0", &["sender", "destinations", "content", "options", "webhooks"]),
    ("/messages/0/destinations/0", &["to", "messageId", "networkId"]),
    ("/messages/0/content", &["text", "transliteration", "language"]),
    (
        "/messages/0/options",
        &["platform", "validityPeriod", "deliveryTimeWindow", "campaignReferenceId", "regional", "flash"],
    ),
    ("/messages/0/options/validityPeriod", &["amount", "timeUnit"]),
    ("/messages/0/webhooks", &["delivery", "contentType", "callbackData"]),
    ("/messages/0/webhooks/delivery", &["url", "intermediateReport", "notify"]),
];
const WHATSAPP_FIELDS: &[&str] = &["from", "to", "messageId", "content", "callbackData", "notifyUrl", "urlOptions"];

#[derive(Debug)]
pub(crate) struct Infobip;

/// An error in the shape of the path: WhatsApp still has the older one.
fn error(asked: &Asked<'_>, status: u16, name: &str, words: &str) -> Answer {
    if asked.path.starts_with("/whatsapp/") {
        let exception = json!({"messageId": name, "text": words});
        return Answer::json(status, &json!({"requestError": {"serviceException": exception}}));
    }
    let body = json!({"errorCode": format!("E{status}"), "description": words, "action": "Check the request",
                      "violations": [], "resources": []});
    Answer::json(status, &body)
}

fn bad_request(asked: &Asked<'_>, words: &str) -> Answer {
    error(asked, 400, "BAD_REQUEST", words)
}

/// Of one message, under 200. The groups: 1 pending, 5 rejected.
fn answered(asked_path: &str, id: &str, to: &str, status: &Value) -> Answer {
    let mut message = json!({"messageId": id, "status": status});
    match asked_path {
        SMS => {
            message["destination"] = to.into();
            message["details"] = json!({"messageCount": 1});
            Answer::json(200, &json!({"bulkId": uuid(), "messages": [message]}))
        }
        path => {
            message["to"] = to.into();
            message["messageCount"] = 1.into();
            let is_list = path == WHATSAPP_TEMPLATE;
            let body = if is_list { json!({"messages": [message], "bulkId": uuid()}) } else { message };
            Answer::json(200, &body)
        }
    }
}

fn rejected(asked: &Asked<'_>, id: u32, name: &str, description: &str) -> Answer {
    let status = json!({"groupId": 5, "groupName": "REJECTED", "id": id, "name": name, "description": description});
    answered(asked.path, &uuid(), "", &status)
}

impl Vendor for Infobip {
    fn name(&self) -> &'static str {
        "infobip"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("api_key", KEY.to_owned()),
            ("from", FROM.to_owned()),
            ("whatsapp_from", WHATSAPP_FROM.to_owned()),
        ]
    }

    fn receipt_secret(&self) -> Option<&'static str> {
        Some(SECRET)
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if asked.header("authorization") != format!("App {KEY}") || !asked.is_welcome() {
            return Err(error(asked, 401, "UNAUTHORIZED", "Invalid login details"));
        }
        match (asked.method, asked.path) {
            ("POST", SMS) => sms(asked).map(Read::Message),
            ("POST", WHATSAPP_TEXT | WHATSAPP_TEMPLATE) => whatsapp(asked).map(Read::Message),
            ("GET", "/account/1/balance") => {
                let balance = if asked.is_broke() { 0.0 } else { 47.79 };
                Ok(Read::Other(Answer::json(200, &json!({"balance": balance, "currency": "EUR"}))))
            }
            _ => Err(error(asked, 404, "NOT_FOUND", "Resource not found")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        let status = json!({"groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED",
                            "description": "Message sent to next instance"});
        let path = match (message.channel, message.echo["path"].as_str()) {
            ("sms", _) => SMS,
            (_, Some(WHATSAPP_TEMPLATE)) => WHATSAPP_TEMPLATE,
            _ => WHATSAPP_TEXT,
        };
        answered(path, &message.id, &message.to, &status)
    }

    fn refuse(&self, refusal: Refusal, asked: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => error(asked, 401, "UNAUTHORIZED", "Invalid login details"),
            Refusal::Ip => error(asked, 403, "FORBIDDEN", "Your IP address is not on the safelist"),
            Refusal::Balance => rejected(asked, 12, "REJECTED_NOT_ENOUGH_CREDITS", "Not enough credits"),
            Refusal::Sender => rejected(asked, 13, "REJECTED_SENDER", "By user's settings, sender is rejected"),
            Refusal::Rejected => rejected(asked, 52, "REJECTED_DESTINATION", "Invalid destination address."),
            Refusal::Throttled => error(asked, 429, "TOO_MANY_REQUESTS", "Too many requests"),
            Refusal::Unavailable => error(asked, 500, "GENERAL_ERROR", "Something went wrong."),
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let (group, group_name, id, name) = match news {
            // Without being asked for, there are final reports alone.
            News::Sent if message.echo["intermediate"] != true => return None,
            News::Sent => (1, "PENDING", 3, "PENDING_WAITING_DELIVERY"),
            News::Delivered => (3, "DELIVERED", 5, "DELIVERED_TO_HANDSET"),
            News::Failed => (2, "UNDELIVERABLE", 9, "UNDELIVERABLE_NOT_DELIVERED"),
        };
        let error = match news {
            News::Failed => {
                json!({"groupId": 1, "groupName": "HANDSET_ERRORS", "id": 1, "name": "EC_UNKNOWN_SUBSCRIBER",
                                   "description": "Unknown Subscriber", "permanent": true})
            }
            _ => json!({"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "description": "No Error",
                        "permanent": false}),
        };
        let report = json!({
            "bulkId": uuid(),
            "messageId": message.id,
            "to": message.to,
            "sender": message.from,
            "sentAt": message.at.rfc3339(),
            "doneAt": now.rfc3339(),
            "messageCount": 1,
            "callbackData": message.echo["callbackData"],
            "price": {"pricePerMessage": 0.01, "currency": "EUR"},
            "status": {"groupId": group, "groupName": group_name, "id": id, "name": name, "description": name},
            "error": error,
        });
        let callback = Some(message.callback.clone()?);
        let headers = vec![("content-type", "application/json".to_owned())];
        Some(Post { callback, headers, body: json!({"results": [report]}).to_string() })
    }
}

fn checked(asked: &Asked<'_>, message: Message, sender: &str) -> Result<Message, Answer> {
    if message.from != sender {
        return Err(rejected(asked, 13, "REJECTED_SENDER", "By user's settings, sender is rejected"));
    }
    if !is_digits(&message.to) {
        return Err(rejected(asked, 52, "REJECTED_DESTINATION", "Invalid destination address."));
    }
    if message.text.is_empty() {
        return Err(bad_request(asked, "content: must not be empty"));
    }
    if message.callback.as_ref().is_some_and(|url| !is_url(url)) {
        return Err(bad_request(asked, "url: must be a valid URL"));
    }
    Ok(message)
}

fn sms(asked: &Asked<'_>) -> Result<Message, Answer> {
    let body = asked.json().ok_or_else(|| bad_request(asked, "Request cannot be processed."))?;
    if let Some(name) = stranger(&body, KNOWN_SMS) {
        return Err(bad_request(asked, &format!("{name}: unknown property")));
    }
    let at = |pointer: &str| text(&body, &format!("/messages/0{pointer}")).to_owned();
    if at("/destinations/0/to").is_empty() {
        return Err(bad_request(asked, "destinations: must not be empty"));
    }
    let validity = body.pointer("/messages/0/options/validityPeriod");
    let is_validity = |period: &Value| {
        let unit = text(period, "/timeUnit");
        let is_unit = ["SECONDS", "MINUTES", "HOURS", "DAYS"].contains(&unit) || period.get("timeUnit").is_none();
        is_unit && period["amount"].as_u64().is_some_and(|amount| amount > 0)
    };
    if validity.is_some_and(|period| !is_validity(period)) {
        return Err(bad_request(asked, "validityPeriod: must be a positive amount of a unit of time"));
    }
    let webhooks = &body["messages"][0]["webhooks"];
    let message = Message {
        id: Some(at("/destinations/0/messageId")).filter(|id| !id.is_empty()).unwrap_or_else(uuid),
        channel: "sms",
        from: at("/sender"),
        to: at("/destinations/0/to"),
        text: at("/content/text"),
        echo: json!({"callbackData": webhooks["callbackData"], "intermediate": webhooks["delivery"]["intermediateReport"]}),
        callback: webhooks["delivery"]["url"].as_str().map(str::to_owned),
        at: asked.now,
    };
    checked(asked, message, FROM)
}

fn whatsapp(asked: &Asked<'_>) -> Result<Message, Answer> {
    let body = asked.json().ok_or_else(|| bad_request(asked, "Request cannot be processed."))?;
    let is_template = asked.path == WHATSAPP_TEMPLATE;
    let message = if is_template { &body["messages"][0] } else { &body };
    let known: &[(&str, &[&str])] = &[
        ("", WHATSAPP_FIELDS),
        ("/content", if is_template { &["templateName", "templateData", "language"] } else { &["text", "previewUrl"] }),
    ];
    if let Some(name) = stranger(message, known) {
        return Err(bad_request(asked, &format!("{name}: unknown property")));
    }
    let code = text(message, "/content/templateData/body/placeholders/0");
    let button = text(message, "/content/templateData/buttons/0/parameter");
    if is_template && (text(message, "/content/templateName").is_empty() || code != button) {
        return Err(bad_request(asked, "an authentication template has the code in its body and in its button"));
    }
    let words = if is_template { code } else { text(message, "/content/text") };
    let built = Message {
        id: Some(text(message, "/messageId")).filter(|id| !id.is_empty()).map_or_else(uuid, str::to_owned),
        channel: "whatsapp",
        from: text(message, "/from").to_owned(),
        to: text(message, "/to").to_owned(),
        text: words.to_owned(),
        echo: json!({"callbackData": message["callbackData"], "path": asked.path}),
        callback: message["notifyUrl"].as_str().map(str::to_owned),
        at: asked.now,
    };
    checked(asked, built, WHATSAPP_FROM)
}
