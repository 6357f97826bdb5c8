//! Hooks: Supabase Auth and Ory Kratos deliver the codes that they make, and otpd checks none of them.

mod kratos;
mod relayed;
mod supabase;
mod supabase_email;
mod supabase_sms;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::client::reply;
use crate::harness::process::run;
use crate::harness::signature::signature;
use crate::harness::{Client, Embedded, Reply};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The one before it, which is still taken.
const OLD_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const STRANGER: &str = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
const SECRETS: (&str, &str) = (
    "OTPD_DOORS__SUPABASE__SECRETS",
    "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw|v1,whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
);
const SMS: &str = "/hooks/supabase/send-sms";
const EMAIL: &str = "/hooks/supabase/send-email";
const KRATOS: &str = "/hooks/kratos";
const NUMBER: &str = "+14155552671";
const ANN: &str = "ann@example.com";

/// `otpd dev` with Supabase's door open.
async fn open(more: &[(&str, &str)]) -> Embedded {
    Embedded::start_with(&[&[SECRETS], more].concat()).await
}

/// A caller with a key that may bring codes of its own.
fn courier(otpd: &Embedded, sandbox: bool) -> Client {
    let made = new_key(otpd, if sandbox { &["--own-codes", "--sandbox"] } else { &["--own-codes"] });
    otpd.client().with_key(made["key"].as_str().expect("a key"))
}

fn new_key(otpd: &Embedded, flags: &[&str]) -> Value {
    let (project, data) = (otpd.client().project.id, otpd.data());
    let create = ["key", "create", "--project", &project, "--json", "--data", &data];
    let (code, stdout, log) = run(&[&create, flags].concat(), &otpd.environment);
    assert_eq!(code, 0, "{log}");
    serde_json::from_str(&stdout).expect("JSON")
}

/// One try of a hook as Supabase makes it: with a new id, signed now.
async fn call(client: &Client, path: &str, payload: &Value) -> Reply {
    let (id, now, body) = (Uuid::new_v4().to_string(), client.clock.now_s().to_string(), payload.to_string());
    let signature = signature(SECRET, &id, &now, body.as_bytes());
    signed(client, path, [&id, &now, &signature], body).await
}

/// One with these values of `webhook-id`, `webhook-timestamp` and `webhook-signature`.
async fn signed(client: &Client, path: &str, [id, timestamp, signature]: [&str; 3], body: String) -> Reply {
    let request = client.http.post(client.url(path)).header("content-type", "application/json");
    let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp);
    reply(request.header("webhook-signature", signature).body(body)).await
}

fn metadata(uuid: &str, name: &str) -> Value {
    json!({ "uuid": uuid, "time": "2026-08-20T10:54:52.000Z", "name": name, "ip_address": "192.0.2.7" })
}

/// The payload of the Send SMS hook.
fn sms(uuid: &str, number: &str, otp: &str) -> Value {
    let phone = number.trim_start_matches('+');
    json!({
        "metadata": metadata(uuid, "send-sms"),
        "user": {
            "id": "6481a5c1-3d37-4a56-9f6a-bee08c554965", "aud": "authenticated", "role": "authenticated",
            "email": "", "phone": phone, "app_metadata": { "provider": "phone", "providers": ["phone"] },
            "user_metadata": {}, "identities": [], "created_at": "2024-05-13T11:45:33.7738Z", "is_anonymous": false,
        },
        "sms": { "otp": otp, "phone": phone },
    })
}

/// The payload of the Send Email hook, for somebody who has one address and may be changing to another.
fn email(uuid: &str, action: &str, [old, new]: [&str; 2], [token, token_new]: [&str; 2]) -> Value {
    json!({
        "metadata": metadata(uuid, "send-email"),
        "user": {
            "id": "8484b834-f29e-4af2-bf42-80644d154f76", "aud": "authenticated", "role": "authenticated",
            "email": old, "new_email": new, "phone": "", "app_metadata": { "provider": "email", "providers": ["email"] },
            "user_metadata": { "email": old, "locale": "de" }, "identities": [], "is_anonymous": false,
        },
        "email_data": {
            "token": token, "token_hash": "7d5b7b1964cf5d388340a7f04f1dbb5eeb6c7b52ef8270e1737a58d0",
            "redirect_to": "http://localhost:3000/", "email_action_type": action, "site_url": "http://localhost:9999",
            "token_new": token_new, "token_hash_new": "", "old_email": "", "old_phone": "", "provider": "",
            "factor_type": "",
        },
    })
}

/// What Supabase tells the person: status and message.
#[track_caller]
fn told(reply: Reply) -> (u64, String) {
    let error = &reply.expect(200).body["error"];
    (error["http_code"].as_u64().expect("a status"), error["message"].as_str().expect("a message").to_owned())
}

/// Every record of the project, newest first.
async fn records(client: &Client) -> Vec<Value> {
    client.live().get("/api/v1/otp/records").await.expect(200).body["records"].as_array().expect("records").clone()
}

async fn tokens_used(client: &Client) -> Value {
    client.get("/api/v1/otp/token-info").await.expect(200).body["tokensUsed"].clone()
}
