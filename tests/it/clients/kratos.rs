//! docs/integrations/kratos.jsonnet: the bodies that Ory Kratos makes with it, from contexts as its courier serialises them,
//! and what the door makes of those.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{own_codes_key, python};
use crate::harness::Embedded;

/// A message of Kratos's courier. `data` is its template's model.
fn context(recipient: &str, template: &str, data: &Value) -> Value {
    json!({
        "recipient": recipient,
        "subject": "Use code 123456 to log in",
        "body": "Your code is 123456",
        "template_type": template,
        "template_data": data,
        "message_type": if recipient.contains('@') { "email" } else { "phone" },
        "request_headers": { "User-Agent": ["curl/8"] },
    })
}

/// A template's model, whose code has this name.
fn model(name: &str, to: &str) -> Value {
    json!({
        "to": to,
        name: "012345",
        "identity": { "id": "9f425a8d-7efc-4768-8f23-7647a74fdf13", "traits": { "phone": to } },
        "request_url": "https://auth.example.com/self-service/login?flow=1",
        "request_url_domain": "auth.example.com",
        "transient_payload": null,
        "expires_in_minutes": 10,
    })
}

fn bodies(contexts: &[Value]) -> Vec<Value> {
    let mut child = python("kratos.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python");
    child.stdin.take().expect("stdin").write_all(json!(contexts).to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn the_door_delivers_what_has_a_code_and_leaves_the_rest() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let own = client.with_key(&own_codes_key(&otpd, &client.project.id));
    let notice = json!({ "to": "bob@example.com", "identity": null });
    let contexts = [
        context("+4915112345678", "login_code_valid", &model("login_code", "+4915112345678")),
        context("ann@example.com", "recovery_code_valid", &model("recovery_code", "ann@example.com")),
        context("bob@example.com", "verifiable_address_changed", &notice),
    ];
    for body in bodies(&contexts) {
        let answer = own.post("/hooks/kratos", &body).await.expect(200);
        assert_eq!(answer.body, json!({ "queued": !body["code"].is_null() }));
    }
    for target in ["+4915112345678", "ann@example.com"] {
        assert_eq!(client.code(target).await, "012345");
    }
    assert_eq!(client.messages("bob@example.com").await, Vec::<Value>::new());
}

#[test]
fn each_template_with_a_code_says_who_gets_it_and_for_how_long() {
    let number = "+4915112345678";
    let templates = [
        (number, "login_code_valid", "login_code"),
        (number, "registration_code_valid", "registration_code"),
        (number, "verification_code_valid", "verification_code"),
        // By SMS, Kratos serialises a recovery code under this name.
        (number, "recovery_code_valid", "verification_code"),
        ("ann@example.com", "recovery_code_valid", "recovery_code"),
    ];
    let contexts = templates.map(|(to, template, name)| context(to, template, &model(name, to)));
    let expected = templates.map(|(to, template, _)| {
        json!({ "recipient": to, "template_type": template, "code": "012345", "expires_in_minutes": 10 })
    });
    assert_eq!(bodies(&contexts), expected);
}

#[test]
fn a_message_without_a_code_says_so() {
    let link =
        json!({ "to": "ann@example.com", "recovery_url": "https://auth.example.com/", "expires_in_minutes": 60 });
    let notice = json!({ "to": "ann@example.com", "identity": null });
    let contexts = [
        context("ann@example.com", "recovery_valid", &link),
        context("ann@example.com", "verifiable_address_changed", &notice),
        context("ann@example.com", "login_code_valid", &json!({ "login_code": "" })),
        context("ann@example.com", "stub", &Value::Null),
        json!({ "recipient": "ann@example.com", "template_type": "stub" }),
    ];
    let codes: Vec<_> = bodies(&contexts).iter().map(|body| body["code"].clone()).collect();
    assert_eq!(codes, vec![Value::Null; contexts.len()]);
}
