//! Eskiz: SMS to Uzbekistan. A login gives a token; everything else needs it.
//!
//! Source: the transcription of the vendor's documentation in github.com/iota-uz/eskiz. Its refusals have words and no
//! codes.

use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::wire::{Answer, Asked, is_url, plain_time, strange_field, uuid};

const EMAIL: &str = "otp@simulated.example";
const PASSWORD: &str = "simulated-password";
const TOKEN: &str = "simulated.eskiz.token";
const FROM: &str = "4546";
const SECRET: &str = "simulated-eskiz-receipts";
const COUNTRY: &str = "998";
const NUMBER_LENGTH: usize = 12;

#[derive(Debug)]
pub(crate) struct Eskiz;

fn refused(status: u16, message: impl Into<Value>) -> Answer {
    Answer::json(status, &json!({"status": "error", "message": message.into()}))
}

fn invalid(field: &str) -> Answer {
    refused(400, json!({field: [format!("The {} is invalid.", field.replace('_', " "))]}))
}

impl Vendor for Eskiz {
    fn name(&self) -> &'static str {
        "eskiz"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("email", EMAIL.to_owned()),
            ("password", PASSWORD.to_owned()),
            ("from", FROM.to_owned()),
        ]
    }

    fn receipt_secret(&self) -> Option<&'static str> {
        Some(SECRET)
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if (asked.method, asked.path) == ("POST", "/api/auth/login") {
            return login(asked).map(Read::Other);
        }
        if !asked.has_bearer(TOKEN) {
            return Err(refused(401, "Expired"));
        }
        match (asked.method, asked.path) {
            ("POST", "/api/message/sms/send") => message(asked).map(Read::Message),
            ("GET", "/api/user/get-limit") => {
                let balance = if asked.is_broke() { 0 } else { 88_000 };
                let body = json!({"data": {"balance": balance}, "status": "success"});
                Ok(Read::Other(Answer::json(200, &body)))
            }
            _ => Err(refused(404, "Not Found")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        let body = json!({"id": message.id, "message": "Waiting for SMS provider", "status": "waiting"});
        Answer::json(200, &body)
    }

    fn refuse(&self, refusal: Refusal, _: &Asked<'_>) -> Option<Answer> {
        match refusal {
            Refusal::Credentials => Some(refused(401, "Expired")),
            Refusal::Balance => Some(refused(400, "Недостаточно средств на балансе")),
            Refusal::Sender => Some(refused(400, "Этот смс-текст ещё не прошёл модерацию")),
            Refusal::Rejected => Some(invalid("mobile_phone")),
            Refusal::Throttled => Some(refused(429, "Too Many Attempts.")),
            Refusal::Unavailable => Some(refused(500, "Server Error")),
            Refusal::Ip => None,
        }
    }

    fn receipt(&self, message: &Message, news: News, now: Timestamp) -> Option<Post> {
        let callback = message.callback.clone()?;
        let status = match news {
            News::Sent => "TRANSMTD",
            News::Delivered => "DELIVRD",
            News::Failed => "UNDELIV",
        };
        let body = json!({
            "request_id": message.id,
            "message_id": "4385062",
            "user_sms_id": null,
            "country": "UZ",
            "phone_number": message.to,
            "sms_count": "1",
            "status": status,
            "status_date": plain_time(now),
        });
        let headers = vec![("content-type", "application/json".to_owned())];
        Some(Post { callback: Some(callback), headers, body: body.to_string() })
    }
}

fn login(asked: &Asked<'_>) -> Result<Answer, Answer> {
    let fields = asked.multipart().or_else(|| asked.form()).unwrap_or_default();
    let is_right = |name: &str, value: &str| fields.get(name).is_some_and(|given| given == value);
    if !is_right("email", EMAIL) || !is_right("password", PASSWORD) || !asked.is_welcome() {
        return Err(refused(401, "Invalid credentials"));
    }
    let body = json!({"message": "token_generated", "data": {"token": TOKEN}, "token_type": "bearer"});
    Ok(Answer::json(200, &body))
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let fields = asked.multipart().or_else(|| asked.form());
    let fields = fields.ok_or_else(|| refused(400, "The given data was invalid."))?;
    if let Some(name) = strange_field(&fields, &["mobile_phone", "message", "from", "callback_url"]) {
        return Err(invalid(name));
    }
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let phone = field("mobile_phone");
    let is_number = phone.len() == NUMBER_LENGTH && phone.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !phone.starts_with(COUNTRY) {
        return Err(invalid("mobile_phone"));
    }
    if field("message").is_empty() {
        return Err(invalid("message"));
    }
    if field("from") != FROM {
        return Err(invalid("from"));
    }
    let callback = fields.get("callback_url").cloned();
    if callback.as_ref().is_some_and(|url| !is_url(url)) {
        return Err(invalid("callback_url"));
    }
    Ok(Message {
        id: uuid(),
        channel: "sms",
        from: FROM.to_owned(),
        to: phone.to_owned(),
        text: field("message").to_owned(),
        echo: Value::Null,
        callback,
        at: asked.now,
    })
}
