//! The Twilio Verify door, as a program calls it that was written for Twilio.

mod lifecycle;
mod refusals;
mod seeing;
mod shapes;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::rig::Rig;
use crate::harness::Reply;
use crate::harness::client::{Project, reply};

/// A caller with an account SID and an auth token.
pub(super) struct Account<'a> {
    pub(super) rig: &'a Rig,
    pub(super) sid: String,
    pub(super) token: String,
    pub(super) service: String,
}

impl<'a> Account<'a> {
    /// A live one of the rig's project.
    pub(super) fn live(rig: &'a Rig) -> Self {
        Self::of(rig, &rig.client.project, &[])
    }

    pub(super) fn of(rig: &'a Rig, project: &Project, flags: &[&str]) -> Self {
        let pair = rig.cli(&[&["key", "create", "--twilio", "--project", &project.id], flags].concat());
        let text = |name: &str| pair[name].as_str().unwrap_or_else(|| panic!("{name} in {pair}")).to_owned();
        Self { rig, sid: text("account_sid"), token: text("auth_token"), service: text("service_sid") }
    }

    /// A request to something of the account's service.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.rig.client.url(&format!("/v2/Services/{}/{path}", self.service));
        self.rig.client.http.request(method, url).basic_auth(&self.sid, Some(&self.token))
    }

    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        reply(self.request(Method::POST, path).form(form)).await
    }

    pub(super) async fn create(&self, to: &str, channel: &str) -> Reply {
        self.post("Verifications", &[("To", to), ("Channel", channel)]).await
    }

    /// Sends to a number; the verification's sid.
    pub(super) async fn send_to(&self, number: &str) -> String {
        self.create(number, "sms").await.expect(201).text("sid").to_owned()
    }

    pub(super) async fn fetch(&self, named: &str) -> Reply {
        reply(self.request(Method::GET, &format!("Verifications/{named}"))).await
    }

    pub(super) async fn update(&self, named: &str, status: &str) -> Reply {
        self.post(&format!("Verifications/{named}"), &[("Status", status)]).await
    }

    pub(super) async fn check(&self, to: &str, code: &str) -> Reply {
        self.post("VerificationCheck", &[("To", to), ("Code", code)]).await
    }

    pub(super) async fn check_sid(&self, sid: &str, code: &str) -> Reply {
        self.post("VerificationCheck", &[("VerificationSid", sid), ("Code", code)]).await
    }
}

/// The server's id of a verification, as v1 has it.
pub(super) fn id_of(sid: &str) -> String {
    let hex = sid.strip_prefix("VE").expect("VE");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A refusal, whole: in the door's shape, with this status and code.
#[track_caller]
pub(super) fn refused(reply: &Reply, status: u16, code: u32) {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    let expected = json!({ "code": code, "message": reply.body["message"], "more_info": more_info, "status": status });
    assert_eq!((reply.status, &reply.body), (status, &expected));
    assert!(reply.body["message"].as_str().is_some_and(|words| !words.is_empty()), "{}", reply.body);
    assert_eq!(reply.header("retry-after").is_some(), status == 429 || status == 503, "{:?}", reply.headers);
}

/// What a check says: its status and whether the code was right.
#[track_caller]
pub(super) fn judged(reply: &Reply, status: &str) {
    let (valid, is_right) = (&reply.body["valid"], json!(status == "approved"));
    assert_eq!((reply.status, &reply.body["status"], valid), (201, &json!(status), &is_right), "{}", reply.body);
}

/// The names in an object.
pub(super) fn names(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}
