//! Africa's Talking: SMS. What it thinks of a message stands in the answer's body, mostly under 201.
//!
//! Sources: developers.africastalking.com/docs/sms/sending/bulk, …/docs/sms/notifications,
//! github.com/AfricastalkingLtd/africastalking-node.js.

use common::otp::time::Timestamp;
use serde_json::{Value, json};

use super::{Message, News, Post, Read, Vendor};
use crate::behaviour::Refusal;
use crate::wire::{Answer, Asked, hex_id, is_e164, strange_field};

const USER: &str = "simulated";
const KEY: &str = "simulated-api-key";
const FROM: &str = "SIMULATED";
const SECRET: &str = "simulated-africastalking-receipts";
const FIELDS: [&str; 9] =
    ["username", "to", "message", "from", "bulkSMSMode", "enqueue", "keyword", "linkId", "retryDurationInHours"];

#[derive(Debug)]
pub(crate) struct Africastalking;

/// In XML unless JSON was asked for, as it is.
fn answered(asked: &Asked<'_>, data: &Value) -> Answer {
    if asked.header("accept").contains("json") {
        return Answer::json(201, &json!({"SMSMessageData": data}));
    }
    let message = data["Message"].as_str().unwrap_or_default();
    let body = format!(
        "<AfricasTalkingResponse><SMSMessageData><Message>{message}</Message></SMSMessageData></AfricasTalkingResponse>"
    );
    Answer::text(201, &body)
}

/// Nobody is sent anything, for one recipient's reason.
fn refused(asked: &Asked<'_>, code: u32, name: &str) -> Answer {
    let number = asked.form().and_then(|mut fields| fields.remove("to")).unwrap_or_default();
    let recipient = json!({"statusCode": code, "number": number, "status": name, "cost": "0", "messageId": "None"});
    answered(asked, &json!({"Message": "Sent to 0/1 Total Cost: 0", "Recipients": [recipient]}))
}

fn unauthorised() -> Answer {
    Answer::text(401, "The supplied authentication is invalid")
}

impl Vendor for Africastalking {
    fn name(&self) -> &'static str {
        "africastalking"
    }

    fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", url.to_owned()),
            ("username", USER.to_owned()),
            ("api_key", KEY.to_owned()),
            ("from", FROM.to_owned()),
        ]
    }

    fn receipt_secret(&self) -> Option<&'static str> {
        Some(SECRET)
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Read, Answer> {
        if asked.header("apikey") != KEY || !asked.is_welcome() {
            return Err(unauthorised());
        }
        match (asked.method, asked.path) {
            ("POST", "/version1/messaging") => message(asked).map(Read::Message),
            ("GET", "/version1/user") if asked.query_field("username").as_deref() == Some(USER) => {
                let balance = if asked.is_broke() { "KES 0.0000" } else { "KES 1785.5000" };
                Ok(Read::Other(Answer::json(200, &json!({"UserData": {"balance": balance}}))))
            }
            ("GET", "/version1/user") => Err(unauthorised()),
            _ => Err(Answer::text(404, "The requested resource could not be found.")),
        }
    }

    fn taken(&self, message: &Message) -> Answer {
        let recipient = json!({"statusCode": 101, "number": message.to, "status": "Success", "cost": "KES 0.8000",
                               "messageId": message.id});
        let data = json!({"Message": "Sent to 1/1 Total Cost: KES 0.8000", "Recipients": [recipient]});
        Answer::json(201, &json!({"SMSMessageData": data}))
    }

    fn refuse(&self, refusal: Refusal, asked: &Asked<'_>) -> Option<Answer> {
        Some(match refusal {
            Refusal::Credentials => unauthorised(),
            Refusal::Balance => refused(asked, 405, "InsufficientBalance"),
            Refusal::Sender => answered(asked, &json!({"Message": "InvalidSenderId", "Recipients": []})),
            Refusal::Rejected => refused(asked, 406, "UserInBlacklist"),
            Refusal::Throttled => Answer::text(429, "Too many requests"),
            // The user's data are asked for by GET, and have nothing of a message in them.
            Refusal::Unavailable if asked.method == "GET" => Answer::text(500, "Internal Server Error"),
            Refusal::Unavailable => refused(asked, 500, "InternalServerError"),
            Refusal::Ip => return None,
        })
    }

    fn receipt(&self, message: &Message, news: News, _: Timestamp) -> Option<Post> {
        let mut fields =
            vec![("id", message.id.as_str()), ("phoneNumber", message.to.as_str()), ("networkCode", "99999")];
        match news {
            News::Sent => fields.push(("status", "Sent")),
            News::Delivered => fields.push(("status", "Success")),
            News::Failed => fields.extend([("status", "Failed"), ("failureReason", "UserDoesNotExist")]),
        }
        let mut body = form_urlencoded::Serializer::new(String::new());
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        Some(Post { callback: None, headers, body: body.extend_pairs(fields).finish() })
    }
}

fn message(asked: &Asked<'_>) -> Result<Message, Answer> {
    let fields = asked.form().ok_or_else(|| Answer::text(400, "The request must be a form"))?;
    if let Some(name) = strange_field(&fields, &FIELDS) {
        return Err(Answer::text(400, &format!("Request has an unknown form field '{name}'")));
    }
    for name in ["username", "to", "message"] {
        if fields.get(name).is_none_or(String::is_empty) {
            return Err(Answer::text(400, &format!("Request is missing required form field '{name}'")));
        }
    }
    if fields["username"] != USER {
        return Err(unauthorised());
    }
    if fields.get("from").is_some_and(|from| from != FROM) {
        return Err(answered(asked, &json!({"Message": "InvalidSenderId", "Recipients": []})));
    }
    if !is_e164(&fields["to"]) {
        return Err(refused(asked, 403, "InvalidPhoneNumber"));
    }
    if !asked.header("accept").contains("json") {
        return Err(answered(asked, &json!({"Message": "Sent to 1/1 Total Cost: KES 0.8000"})));
    }
    Ok(Message {
        id: format!("ATXid_{}", hex_id(32)),
        channel: "sms",
        from: fields.get("from").cloned().unwrap_or_default(),
        to: fields["to"].clone(),
        text: fields["message"].clone(),
        echo: Value::Null,
        callback: None,
        at: asked.now,
    })
}
