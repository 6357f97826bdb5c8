//! Postmark: e-mail by its API. Its webhooks are not signed.
//!
//! Sources: postmarkapp.com/developer/api (overview with its error codes, email, server) and …/developer/webhooks.

use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::wire::{Answer, Asked, is_address, stranger, text, uuid};

const TOKEN: &str = "51515151-5151-4151-8151-515151515151";
const FROM: &str = "otp@simulated.example";
const SECRET: &str = "simulated-postmark-receipts";
const STREAM: &str = "outbound";
const KNOWN: &[(&str, &[&str])] = &[(
    "",
    &[
        "From",
        "To",
        "Cc",
        "Bcc",
        "Subject",
        "Tag",
        "HtmlBody",
        "TextBody",
        "ReplyTo",
        "Headers",
        "TrackOpens",
        "TrackLinks",
        "Metadata",
        "Attachments",
        "MessageStream",
    ],
)];

#[derive(Debug)]
pub(crate) struct Postmark;

fn refused(status: u16, code: u32, message: &str) -> Answer {
    Answer::json(status, &json!({"ErrorCode": code, "Message": message}))
}

fn unauthorised() -> Answer {
    refused(401, 10, "The Server Token you provided in the X-Postmark-Server-Token request header was invalid.")
}

impl Vendor for Postmark {
    fn name(&self) -> &'static str {
        "postmark"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("server_token", TOKEN.to_owned()),
            ("from", format!("Simulated <{FROM}>")),
            ("message_stream", STREAM.to_owned()),
        ]
    }

    fn receipt_secret(&self) -> Option<&'static str> {
        Some(SECRET)
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if asked.header("x-postmark-server-token") != TOKEN || !asked.is_welcome() {
            return Err(unauthorised());
        }
        match (asked.method, asked.path) {
            ("POST", "/email") => message(asked).map(Read::Message),
            ("GET", "/server") => {
                let body = json!({"ID": 1, "Name": "Simulated", "ApiTokens": [TOKEN], "DeliveryType": "Live"});
                Ok(Read::Other(Answer::json(200, &body)))
            }
            _ => Err(Answer::html(404, "<html><body>Not Found</body></html>")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        let body = json!({"To": message.to, "SubmittedAt": message.at.rfc3339(), "MessageID": message.id,
                          "ErrorCode": 0, "Message": "OK"});
        Answer::json(200, &body)
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => unauthorised(),
            Refusal::Balance => refused(422, 405, "Not allowed to send: you have run out of credits."),
            Refusal::Ip => Answer::html(403, "<html><head><title>403 Forbidden</title></head></html>"),
            Refusal::Sender => refused(422, 400, "The 'From' address is not a Sender Signature on your account."),
            Refusal::Rejected => {
                refused(422, 406, "You tried to send to a recipient that has been marked as inactive.")
            }
            Refusal::Throttled => refused(429, 429, "Rate limit exceeded."),
            Refusal::Unavailable => refused(503, 100, "Maintenance. The Postmark API is offline for maintenance."),
        })
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let body = match news {
            // It tells nothing before the message has arrived or has come back.
            News::Sent => return None,
            News::Delivered => json!({
                "RecordType": "Delivery",
                "MessageID": message.id,
                "Recipient": message.to,
                "DeliveredAt": now.rfc3339(),
                "Details": "smtp;250 2.0.0 OK",
                "MessageStream": STREAM,
                "Metadata": message.echo,
                "ServerID": 1,
                "Tag": "",
            }),
            News::Failed => json!({
                "RecordType": "Bounce",
                "ID": 42,
                "Type": "HardBounce",
                "TypeCode": 1,
                "Name": "Hard bounce",
                "MessageID": message.id,
                "Email": message.to,
                "BouncedAt": now.rfc3339(),
                "Description": "The server was unable to deliver your message (ex: unknown user).",
                "Details": "smtp;550 5.1.1 The account does not exist",
                "Inactive": true,
                "CanActivate": true,
                "MessageStream": STREAM,
                "Metadata": message.echo,
                "ServerID": 1,
            }),
        };
        let headers = vec![("content-type", "application/json".to_owned())];
        Some(Post { callback: None, headers, body: body.to_string() })
    }
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let body = asked.json().ok_or_else(|| refused(422, 402, "Invalid JSON"))?;
    if let Some(name) = stranger(&body, KNOWN) {
        return Err(refused(422, 402, &format!("Invalid JSON: unknown field {name}")));
    }
    let (from, to) = (text(&body, "/From"), text(&body, "/To"));
    let address = from.rsplit_once('<').map_or(from, |(_, address)| address.trim_end_matches('>'));
    if !is_address(address) {
        return Err(refused(422, 300, "Invalid 'From' address."));
    }
    if address != FROM {
        return Err(refused(422, 400, "The 'From' address is not a Sender Signature on your account."));
    }
    if !is_address(to) {
        return Err(refused(422, 300, "Invalid 'To' address."));
    }
    if text(&body, "/TextBody").is_empty() && text(&body, "/HtmlBody").is_empty() {
        return Err(refused(422, 300, "Provide either email TextBody or HtmlBody or both."));
    }
    let stream = body.get("MessageStream").and_then(Value::as_str);
    if stream.is_some_and(|stream| stream != STREAM) {
        return Err(refused(422, 1235, "The message stream for the provided 'ID' was not found."));
    }
    let is_text = |value: &Value| value.is_string();
    let metadata = &body["Metadata"];
    if metadata.as_object().is_some_and(|fields| !fields.values().all(is_text)) {
        return Err(refused(422, 402, "Invalid JSON: metadata values are text"));
    }
    Ok(Message {
        id: uuid(),
        channel: "email",
        from: from.to_owned(),
        to: to.to_owned(),
        text: text(&body, "/TextBody").to_owned(),
        echo: metadata.clone(),
        callback: None,
        at: asked.now,
    })
}
