//! The shapes of what is played, held to the vendors' documents where `OTPD_SPECS` names a folder of them: answers as
//! they come, and receipts as they are posted.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use serde_json::Value;

use super::rig::Rehearsal;
use super::specs::Spec;
use crate::harness::beside::Beside;
use crate::harness::eventually;

/// Which schema of a document is that of an answer with which status, and the fields that the document forgets.
pub(super) struct Shapes {
    file: &'static str,
    of: &'static [(u16, &'static str)],
    beyond: &'static [&'static str],
}

/// No document of this vendor may be kept.
pub(super) const NOWHERE: Shapes = Shapes { file: "", of: &[], beyond: &[] };
pub(super) const TWILIO: Shapes =
    Shapes { file: "twilio_messages.json", of: &[(201, "api.v2010.account.message")], beyond: &[] };
pub(super) const VONAGE: Shapes =
    Shapes { file: "vonage_messages.json", of: &[(422, "ErrorSender"), (429, "ErrorThrottled")], beyond: &[] };
pub(super) const INFOBIP: Shapes =
    Shapes { file: "infobip_sms.json", of: &[(200, "SmsResponse"), (400, "ApiError"), (401, "ApiError")], beyond: &[] };
pub(super) const META: Shapes = Shapes {
    file: "meta_whatsapp.json",
    of: &[(200, "MessageResponsePayload"), (400, "GraphAPIError"), (404, "GraphAPIError")],
    // On the pages of error codes and of webhooks.
    beyond: &["error.error_data", "entry[].changes[].value.statuses[].biz_opaque_callback_data"],
};
pub(super) const SENDGRID: Shapes =
    Shapes { file: "sendgrid_mail_send.json", of: &[(400, "ErrorResponse"), (403, "ErrorResponse")], beyond: &[] };
pub(super) const MAILGUN: Shapes = Shapes {
    file: "mailgun.json",
    of: &[
        (200, "github.com-mailgun-influx-httpapi-SendMessageResponse"),
        (400, "github.com-mailgun-influx-httpapi-GetMessageResponseNotFound"),
    ],
    beyond: &[],
};
pub(super) const RESEND: Shapes = Shapes { file: "resend.json", of: &[(200, "SendEmailResponse")], beyond: &[] };
pub(super) const ESKIZ: Shapes = Shapes { file: "eskiz.json", of: &[(200, "SendSmsResponse")], beyond: &[] };

impl Shapes {
    #[track_caller]
    pub(super) fn admit(&self, status: u16, body: &Value) {
        if let Some((_, schema)) = self.of.iter().find(|(known, _)| *known == status) {
            self.admit_as(schema, body);
        }
    }

    #[track_caller]
    fn admit_as(&self, schema: &str, body: &Value) {
        let Some(spec) = Spec::load(self.file) else { return };
        let schema = spec.document["components"]["schemas"].get(schema).expect("a schema");
        assert_eq!(spec.problems(schema, body), Vec::<String>::new(), "{body:#}");
        let strange = spec.unknown(schema, body);
        let strange: Vec<_> = strange.iter().filter(|field| !self.beyond.contains(&field.as_str())).collect();
        assert_eq!(strange, Vec::<&String>::new(), "{body:#}");
    }
}

/// Takes receipts in otpd's place and keeps them.
struct Recorder {
    kept: Arc<Mutex<Vec<Value>>>,
    server: Beside,
}

impl Recorder {
    fn start() -> Self {
        async fn keep(State(kept): State<Arc<Mutex<Vec<Value>>>>, body: Bytes) {
            kept.lock().expect("kept").push(serde_json::from_slice(&body).expect("JSON"));
        }
        let kept = Arc::<Mutex<Vec<Value>>>::default();
        let router = axum::Router::new().fallback(keep).with_state(Arc::clone(&kept));
        let server = Beside::start(move |listener| async move { axum::serve(listener, router).await });
        Self { kept, server }
    }
}

/// The receipts of one message, delivered and not, each of the schema that its vendor has for it.
async fn check(vendor: &str, channel: &str, shapes: &Shapes, schema: impl Fn(&Value) -> &'static str) {
    if Spec::load(shapes.file).is_none() {
        return;
    }
    let target = if channel == "email" { "ann@example.com" } else { "+14155552671" };
    for fate in ["delivered", "failed"] {
        let rig = Rehearsal::start(&[vendor, "--receipts", fate], &[]).await;
        let recorder = Recorder::start();
        rig.vendors.receipts_go_to(&format!("http://{}", recorder.server.address));
        rig.send(channel, target).await;
        let both = || async { (recorder.kept.lock().expect("kept").len() >= 2).then_some(()) };
        eventually("two receipts", both).await;
        for receipt in recorder.kept.lock().expect("kept").iter() {
            shapes.admit_as(schema(receipt), receipt);
        }
    }
}

#[tokio::test]
async fn receipts_of_vonage() {
    check("vonage", "sms", &VONAGE, |_| "messageStatusSMS").await;
    check("vonage", "whatsapp", &VONAGE, |_| "messageStatusWhatsApp").await;
}

#[tokio::test]
async fn receipts_of_infobip() {
    check("infobip", "sms", &INFOBIP, |_| "SmsDeliveryResult").await;
}

#[tokio::test]
async fn receipts_of_meta() {
    check("meta", "whatsapp", &META, |_| "WebhookPayload").await;
}

#[tokio::test]
async fn receipts_of_resend() {
    let schema = |event: &Value| match event["type"].as_str() {
        Some("email.sent") => "EmailSentEvent",
        Some("email.delivered") => "EmailDeliveredEvent",
        _ => "EmailBouncedEvent",
    };
    check("resend", "email", &RESEND, schema).await;
}
