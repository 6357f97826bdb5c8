//! What a vendor would refuse is refused, in its own words: asked for without any adapter between.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::documented::{ESKIZ, INFOBIP, MAILGUN, META, NOWHERE, RESEND, SENDGRID, Shapes, TWILIO, VONAGE};
use crate::harness::client::reply;
use crate::harness::simulated::Simulated;

/// A good request to a vendor, by its content type.
struct Good {
    path: &'static str,
    credentials: (&'static str, String),
    body: Body,
    status: u16,
}

#[derive(Clone)]
enum Body {
    Json(Value),
    Form(Vec<(&'static str, &'static str)>),
}

impl Body {
    /// With a field, at a JSON pointer or in the form, that is another or not there.
    fn but(&self, field: &'static str, value: &'static str) -> Self {
        match self.clone() {
            Self::Json(mut body) => {
                let (object, name) = field.rsplit_once('/').expect("a pointer");
                let object = body.pointer_mut(object).and_then(Value::as_object_mut).expect("an object");
                match value {
                    "" => drop(object.remove(name)),
                    value => drop(object.insert(name.to_owned(), value.into())),
                }
                Self::Json(body)
            }
            Self::Form(mut fields) => {
                fields.retain(|(name, _)| *name != field);
                fields.extend((!value.is_empty()).then_some((field, value)));
                Self::Form(fields)
            }
        }
    }
}

fn basic(user: &str, password: &str) -> (&'static str, String) {
    ("authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

async fn asked(vendors: &Simulated, good: &Good, body: &Body, shapes: &Shapes) -> (u16, String) {
    let request = reqwest::Client::new().post(format!("{}{}", vendors.url, good.path));
    let request = request.header(good.credentials.0, &good.credentials.1).header("accept", "application/json");
    let request = request.header("user-agent", "test");
    let request = match body {
        Body::Json(body) => request.json(body),
        Body::Form(fields) => request.form(fields),
    };
    let reply = reply(request).await;
    shapes.admit(reply.status, &reply.body);
    (reply.status, reply.body.to_string())
}

/// The good request is taken; each that differs in one field is refused with this status and these words. Every answer
/// has the shape that the vendor's document has for it.
async fn check(good: Good, refused: &[(&'static str, &'static str, u16, &str)], shapes: &Shapes) {
    let name = good.path.split('/').nth(1).expect("a vendor");
    let vendors = Simulated::start(&[name, "--receipts", "none"]);
    let (status, body) = asked(&vendors, &good, &good.body, shapes).await;
    assert_eq!(status, good.status, "{body}");
    for (field, value, status, words) in refused {
        let (answered, body) = asked(&vendors, &good, &good.body.but(field, value), shapes).await;
        assert_eq!(answered, *status, "{field}: {body}");
        assert!(body.contains(words), "{field}: {body}");
    }
    // The other kind of body is never what it wants.
    let other = match &good.body {
        Body::Json(_) => Body::Form(vec![("a", "b")]),
        Body::Form(_) => Body::Json(json!({"a": "b"})),
    };
    let (status, body) = asked(&vendors, &good, &other, shapes).await;
    assert!((400..500).contains(&status), "{body}");
    assert_eq!(vendors.count(name, "taken").await, 1);
}

#[tokio::test]
async fn twilio() {
    let account = "AC51510000000000000000000000000000";
    let body = Body::Form(vec![("To", "+14155552671"), ("From", "+15005550006"), ("Body", "Your code is 482913")]);
    let path = "/twilio/2010-04-01/Accounts/AC51510000000000000000000000000000/Messages.json";
    let good = Good { path, credentials: basic(account, "simulated-auth-token"), body, status: 201 };
    let refused = [
        ("To", "", 400, "21604"),
        ("To", "4155552671", 400, "21211"),
        ("From", "", 400, "21603"),
        ("From", "+14155552672", 400, "21606"),
        ("Body", "", 400, "21602"),
        ("ValidityPeriod", "36001", 400, "21705"),
        ("StatusCallback", "nowhere", 400, "21609"),
        ("Colour", "red", 400, "Unknown parameters: Colour"),
        ("To", "whatsapp:+14155552671", 400, "63007"),
    ];
    check(good, &refused, &TWILIO).await;
}

#[tokio::test]
async fn vonage() {
    let body = json!({"channel": "sms", "message_type": "text", "to": "14155552671", "from": "447700900001",
                      "text": "Your code is 482913"});
    let credentials = basic("51510000", "simulated-api-secret");
    let good = Good { path: "/vonage/v1/messages", credentials, body: Body::Json(body), status: 202 };
    let refused = [
        ("/to", "+14155552671", 422, "#1430"),
        ("/from", "447700900009", 422, "#1420"),
        ("/channel", "pigeon", 422, "#1400"),
        ("/text", "", 422, "#1020"),
        ("/message_type", "", 422, "#1010"),
        ("/ttl", "short", 422, "#1130"),
        ("/client_ref", "a-reference-of-more-than-forty-characters-", 422, "#1450"),
        ("/colour", "red", 422, "`colour` is no parameter"),
    ];
    check(good, &refused, &VONAGE).await;
}

#[tokio::test]
async fn africastalking() {
    let body = Body::Form(vec![("username", "simulated"), ("to", "+254711222333"), ("message", "Your code is 482913")]);
    let credentials = ("apikey", "simulated-api-key".to_owned());
    let good = Good { path: "/africastalking/version1/messaging", credentials, body, status: 201 };
    let refused = [
        ("to", "", 400, "missing required form field 'to'"),
        ("to", "0711222333", 201, "InvalidPhoneNumber"),
        ("from", "OTHER", 201, "InvalidSenderId"),
        ("username", "other", 401, "The supplied authentication is invalid"),
        ("colour", "red", 400, "unknown form field 'colour'"),
    ];
    check(good, &refused, &NOWHERE).await;
}

#[tokio::test]
async fn playmobile() {
    let sms = json!({"originator": "3700", "ttl": "60", "content": {"text": "Your code is 482913"}});
    let body = json!({"messages": [{"recipient": "998901234567", "message-id": "m1", "sms": sms}]});
    let credentials = basic("simulated", "simulated-password");
    let good = Good { path: "/playmobile/broker-api/send", credentials, body: Body::Json(body), status: 200 };
    let refused = [
        ("/messages/0/recipient", "", 400, "\"202\""),
        ("/messages/0/message-id", "", 400, "\"205\""),
        ("/messages/0/sms/originator", "9999", 400, "\"402\""),
        ("/messages/0/sms/ttl", "soon", 400, "\"403\""),
        ("/messages/0/sms/content/text", "", 400, "\"404\""),
        ("/messages/0/colour", "red", 400, "messages.0.colour"),
        ("/priority", "urgent", 400, "\"104\""),
    ];
    check(good, &refused, &NOWHERE).await;
}

#[tokio::test]
async fn eskiz() {
    let body = Body::Form(vec![("mobile_phone", "998901234567"), ("message", "Kod: 482913"), ("from", "4546")]);
    let credentials = bearer("simulated.eskiz.token");
    let good = Good { path: "/eskiz/api/message/sms/send", credentials, body, status: 200 };
    let refused = [
        ("mobile_phone", "+998901234567", 400, "mobile_phone"),
        ("mobile_phone", "14155552671", 400, "mobile_phone"),
        ("message", "", 400, "message"),
        ("from", "OTHER", 400, "from"),
        ("callback_url", "nowhere", 400, "callback_url"),
        ("colour", "red", 400, "colour"),
    ];
    check(good, &refused, &ESKIZ).await;
}

#[tokio::test]
async fn infobip() {
    let message = json!({"sender": "Simulated", "destinations": [{"to": "14155552671"}],
                         "content": {"text": "Your code is 482913"}, "options": {"validityPeriod": {"amount": 60}}});
    let credentials = ("authorization", "App simulated-api-key".to_owned());
    let body = Body::Json(json!({"messages": [message]}));
    let good = Good { path: "/infobip/sms/3/messages", credentials, body, status: 200 };
    let refused = [
        ("/messages/0/destinations/0/to", "+14155552671", 200, "REJECTED_DESTINATION"),
        ("/messages/0/sender", "Other", 200, "REJECTED_SENDER"),
        ("/messages/0/content/text", "", 400, "E400"),
        ("/messages/0/options/validityPeriod/timeUnit", "FORTNIGHTS", 400, "validityPeriod"),
        ("/messages/0/from", "Simulated", 400, "messages.0.from"),
    ];
    check(good, &refused, &INFOBIP).await;
}

#[tokio::test]
async fn telnyx() {
    let body = json!({"from": "+15005550006", "to": "+14155552671", "text": "Your code is 482913", "type": "SMS"});
    let credentials = bearer("KEY51515151SIMULATED");
    let good = Good { path: "/telnyx/v2/messages", credentials, body: Body::Json(body), status: 200 };
    let refused = [
        ("/to", "14155552671", 400, "10002"),
        ("/from", "+14155552672", 400, "40013"),
        ("/text", "", 422, "10015"),
        ("/webhook_url", "nowhere", 422, "10015"),
        ("/colour", "red", 422, "/colour"),
    ];
    check(good, &refused, &NOWHERE).await;
}

#[tokio::test]
async fn meta() {
    let parameters = json!([{"type": "text", "text": "482913"}]);
    let components = json!([{"type": "body", "parameters": parameters},
                            {"type": "button", "sub_type": "url", "index": "0", "parameters": parameters}]);
    let template = json!({"name": "simulated_code", "language": {"code": "en_US"}, "components": components});
    let body = json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": "14155552671",
                      "type": "template", "template": template});
    let credentials = bearer("simulated-access-token");
    let path = "/meta/v23.0/106540352242922/messages";
    let good = Good { path, credentials, body: Body::Json(body), status: 200 };
    let refused = [
        ("/to", "nobody", 400, "131009"),
        ("/type", "text", 400, "131008"),
        ("/template/name", "other", 404, "132001"),
        ("/template/language/code", "de", 404, "132001"),
        ("/template/components/1/index", "1", 400, "132000"),
        ("/template/components/0/parameters/0/text", "482914", 400, "132000"),
        ("/colour", "red", 400, "Unexpected key"),
    ];
    check(good, &refused, &META).await;
}

#[tokio::test]
async fn sendgrid() {
    let body = json!({"personalizations": [{"to": [{"email": "ann@example.com"}]}], "subject": "Your code",
                      "from": {"email": "otp@simulated.example"},
                      "content": [{"type": "text/plain", "value": "Your code is 482913"}]});
    let credentials = bearer("SG.simulated.key");
    let good = Good { path: "/sendgrid/v3/mail/send", credentials, body: Body::Json(body), status: 202 };
    let refused = [
        ("/personalizations/0/to/0/email", "ann", 400, "personalizations.0.to.0.email"),
        ("/from/email", "otp@example.com", 403, "verified Sender Identity"),
        ("/subject", "", 400, "The subject is required."),
        ("/content/0/value", "", 400, "\"content\""),
        ("/colour", "red", 400, "Additional property colour is not allowed"),
    ];
    check(good, &refused, &SENDGRID).await;
}

#[tokio::test]
async fn mailgun() {
    let body = Body::Form(vec![
        ("from", "Shop <otp@mg.simulated.example>"),
        ("to", "ann@example.com"),
        ("subject", "Your code"),
        ("text", "Your code is 482913"),
    ]);
    let credentials = basic("api", "simulated-api-key");
    let good = Good { path: "/mailgun/v3/mg.simulated.example/messages", credentials, body, status: 200 };
    let refused = [
        ("from", "", 400, "from parameter is missing"),
        ("from", "otp@example.com", 400, "from parameter"),
        ("to", "ann", 400, "to parameter is not a valid address"),
        ("text", "", 400, "Need at least one of"),
        ("o:colour", "red", 400, "o:colour is not a parameter"),
        ("colour", "red", 400, "colour is not a parameter"),
    ];
    check(good, &refused, &MAILGUN).await;
}

#[tokio::test]
async fn postmark() {
    let body = json!({"From": "otp@simulated.example", "To": "ann@example.com", "Subject": "Your code",
                      "TextBody": "Your code is 482913", "Metadata": {"a": "b"}});
    let credentials = ("x-postmark-server-token", "51515151-5151-4151-8151-515151515151".to_owned());
    let good = Good { path: "/postmark/email", credentials, body: Body::Json(body), status: 200 };
    let refused = [
        ("/From", "", 422, "Invalid 'From' address."),
        ("/From", "otp@example.com", 422, "\"ErrorCode\":400"),
        ("/To", "ann", 422, "Invalid 'To' address."),
        ("/TextBody", "", 422, "TextBody or HtmlBody"),
        ("/MessageStream", "other", 422, "1235"),
        ("/Colour", "red", 422, "unknown field Colour"),
    ];
    check(good, &refused, &NOWHERE).await;
}

#[tokio::test]
async fn resend() {
    let body = json!({"from": "otp@simulated.example", "to": ["ann@example.com"], "subject": "Your code",
                      "text": "Your code is 482913", "tags": [{"name": "a", "value": "b"}]});
    let credentials = bearer("re_simulated_key");
    let good = Good { path: "/resend/emails", credentials, body: Body::Json(body), status: 200 };
    let refused = [
        ("/from", "nobody", 422, "invalid_from_address"),
        ("/from", "otp@example.com", 403, "is not verified"),
        ("/to", "ann", 422, "Invalid `to` field"),
        ("/subject", "", 422, "missing_required_field"),
        ("/text", "", 422, "Missing `html` or `text` field."),
        ("/tags/0/value", "a:b", 422, "ASCII letters"),
        ("/colour", "red", 422, "Unrecognized key"),
    ];
    check(good, &refused, &RESEND).await;
}

#[tokio::test]
async fn ses_knows_who_signed_before_anything_else() {
    let vendors = Simulated::start(&["ses"]);
    let request =
        || reqwest::Client::new().post(format!("{}/ses/v2/email/outbound-emails", vendors.url)).json(&json!({}));
    let unsigned = reply(request()).await.expect(403);
    assert_eq!(unsigned.header("x-amzn-errortype"), Some("MissingAuthenticationTokenException"));
    let scope = "AKIAOTHER/20261121/eu-west-1/ses/aws4_request";
    let signature = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=00");
    let other = reply(request().header("authorization", signature).header("x-amz-date", "20261121T060000Z")).await;
    assert_eq!((other.status, other.header("x-amzn-errortype")), (403, Some("UnrecognizedClientException")));
    assert_eq!(vendors.count("ses", "refused").await, 2);
}
