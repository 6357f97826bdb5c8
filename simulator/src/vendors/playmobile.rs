//! Play Mobile, also smsxabar: SMS to Uzbekistan by its broker's HTTP interface.
//!
//! Sources: wiki.playmobile.uz (HTTP integration) and the public clients that providers/src/playmobile.rs names; there is
//! no public specification. It says nothing of a bad number at once, only in the status that it posts.

use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::wire::{Answer, Asked, plain_time, stranger, text};

const USER: &str = "simulated";
const PASSWORD: &str = "simulated-password";
const ORIGINATOR: &str = "3700";
const SECRET: &str = "simulated-playmobile-receipts";
const LONGEST_ID: usize = 40;
const PRIORITIES: [&str; 4] = ["low", "normal", "high", "realtime"];
const KNOWN: &[(&str, &[&str])] = &[
    ("", &["priority", "template-id", "timing", "messages"]),
    ("/messages/0", &["recipient", "message-id", "template-id", "priority", "timing", "sms", "variables"]),
    ("/messages/0/sms", &["originator", "ttl", "content"]),
    ("/messages/0/sms/content", &["text"]),
];

#[derive(Debug)]
pub(crate) struct PlayMobile;

fn refused(code: u32, description: &str) -> Answer {
    Answer::json(400, &json!({"error-code": code.to_string(), "error-description": description}))
}

fn unauthorised() -> Answer {
    Answer::text(401, "Unauthorized")
}

impl Vendor for PlayMobile {
    fn name(&self) -> &'static str {
        "playmobile"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("username", USER.to_owned()),
            ("password", PASSWORD.to_owned()),
            ("originator", ORIGINATOR.to_owned()),
        ]
    }

    fn receipt_secret(&self) -> Option<&'static str> {
        Some(SECRET)
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if (asked.method, asked.path) != ("POST", "/broker-api/send") {
            return Err(Answer::html(404, "<html><body>Not Found</body></html>"));
        }
        if !asked.has_basic(USER, PASSWORD) {
            return Err(unauthorised());
        }
        message(asked).map(Read::Message)
    }

    fn taken(&self, _: &Message) -> Answer {
        Answer::text(200, "Request is received")
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        match refusal {
            Refusal::Credentials => Some(unauthorised()),
            Refusal::Ip => Some(Answer::text(403, "Forbidden")),
            Refusal::Sender => Some(refused(402, "Bad application")),
            Refusal::Throttled => Some(Answer::text(429, "Too Many Requests")),
            Refusal::Unavailable => Some(refused(100, "Internal server error")),
            Refusal::Balance | Refusal::Rejected => None,
        }
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let status = match news {
            News::Sent => "Transmitted",
            News::Delivered => "Delivered",
            News::Failed => "NotDelivered",
        };
        let status = json!({"message-id": message.id, "channel": "SMS", "status": status,
                            "status-date": plain_time(now)});
        let headers = vec![("content-type", "application/json; charset=UTF-8".to_owned())];
        Some(Post { callback: None, headers, body: json!({"messages": [status]}).to_string() })
    }
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let body = asked.json().ok_or_else(|| refused(101, "Syntax error"))?;
    if let Some(name) = stranger(&body, KNOWN) {
        return Err(refused(101, &format!("Syntax error: {name}")));
    }
    let messages = body["messages"].as_array().ok_or_else(|| refused(101, "Syntax error"))?;
    let [message] = messages.as_slice() else { return Err(refused(103, "Channel is empty")) };
    let priority = [&body, message].map(|level| level.get("priority").and_then(Value::as_str));
    if priority.into_iter().flatten().any(|priority| !PRIORITIES.contains(&priority)) {
        return Err(refused(104, "Bad priority"));
    }
    let (recipient, id) = (text(message, "/recipient"), text(message, "/message-id"));
    let (originator, words) = (text(message, "/sms/originator"), text(message, "/sms/content/text"));
    let ttl = message.pointer("/sms/ttl").map(|ttl| ttl.as_str().and_then(|ttl| ttl.parse::<u32>().ok()));
    match () {
        () if recipient.is_empty() => Err(refused(202, "Recipient is empty")),
        () if id.is_empty() || id.len() > LONGEST_ID => Err(refused(205, "Message-id is empty")),
        () if originator.is_empty() => Err(refused(401, "Originator is empty")),
        () if originator != ORIGINATOR => Err(refused(402, "Bad application")),
        () if ttl == Some(None) => Err(refused(403, "Bad ttl")),
        () if words.is_empty() => Err(refused(404, "Content is empty")),
        () => Ok(Message {
            id: id.to_owned(),
            channel: "sms",
            from: originator.to_owned(),
            to: recipient.to_owned(),
            text: words.to_owned(),
            echo: Value::Null,
            callback: None,
            at: asked.now,
        }),
    }
}
