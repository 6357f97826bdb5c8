//! The 1port door: the login door with other names, and a provider's trouble that stays a provider's.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::rig::{Rig, check, claims, other_than, rigged};
use crate::harness::eventually;
use crate::harness::stub::Answer;

rigged!(a_number_and_its_code_are_a_token_once, refusals_are_those_of_login, a_providers_failure_is_never_the_callers,);

const NUMBER: &str = "+998901234567";

fn message(text: &str) -> Value {
    json!({ "message": text })
}

async fn a_number_and_its_code_are_a_token_once(rig: Rig) {
    let sent = rig.post("/api/auth/send-otp", &json!({ "phone": NUMBER })).await;
    check(&sent, 200, &message("OTP sent successfully"));
    let code = rig.code(NUMBER).await;
    assert_eq!(code.len(), 6);
    let guess = json!({ "phone": "+998 90 123-45-67", "otp": code });
    let right = rig.post("/api/auth/verify-otp", &guess).await.expect(200);
    let token = right.text("token").to_owned();
    assert_eq!(right.body, json!({ "token": token }));
    assert_eq!(claims(&token)["aud"], rig.client.project.id.as_str());
    check(&rig.post("/api/auth/verify-otp", &guess).await, 401, &message("Invalid or expired OTP"));
}

async fn refusals_are_those_of_login(rig: Rig) {
    for (body, told) in [
        (json!({}), "Phone number is required"),
        (json!({ "phoneNumber": NUMBER }), "Phone number is required"),
        (json!({ "phone": "901234567" }), "Phone number is invalid"),
        (json!({ "phone": { "number": NUMBER } }), "Phone number is invalid"),
    ] {
        check(&rig.post("/api/auth/send-otp", &body).await, 400, &message(told));
    }
    rig.post("/api/auth/send-otp", &json!({ "phone": NUMBER })).await.expect(200);
    let code = rig.code(NUMBER).await;
    let early = rig.post("/api/auth/send-otp", &json!({ "phone": NUMBER })).await;
    check(&early, 429, &message("Too many requests - Rate limit exceeded"));
    assert!(early.header("retry-after").is_some());
    for body in [json!({ "phone": NUMBER }), json!({ "otp": code }), json!({ "phoneNumber": NUMBER, "otp": code })] {
        check(&rig.post("/api/auth/verify-otp", &body).await, 400, &message("Phone number and OTP are required"));
    }
    for _ in 0..5 {
        let wrong = json!({ "phone": NUMBER, "otp": other_than(&code) });
        check(&rig.post("/api/auth/verify-otp", &wrong).await, 401, &message("Invalid or expired OTP"));
    }
    let late = json!({ "phone": NUMBER, "otp": code });
    check(&rig.post("/api/auth/verify-otp", &late).await, 401, &message("Invalid or expired OTP"));
    rig.client.clock.advance(Duration::from_secs(301));
    check(&rig.post("/api/auth/verify-otp", &late).await, 401, &message("Invalid or expired OTP"));
}

async fn a_providers_failure_is_never_the_callers(rig: Rig) {
    rig.stub.answer(Answer::with(StatusCode::UNAUTHORIZED));
    let sent = rig.post("/api/auth/send-otp", &json!({ "phone": NUMBER })).await;
    check(&sent, 200, &message("OTP sent successfully"));
    // The sender reads what it refuses; a person would get it at the next try.
    let code = rig.code(NUMBER).await;
    let attempt = eventually("the operators to see what the provider said", || async {
        let list = rig.client.get("/api/v1/otp/records?recordId=door:1port").await.expect(200).body;
        let record = rig.client.record(list["records"][0]["id"].as_str()?).await;
        Some(record["dispatches"][0]["attempts"][0].clone()).filter(|attempt| attempt["cause"].is_string())
    })
    .await;
    assert_eq!(attempt["cause"], "misconfigured_credentials");
    // Nobody is asked any more for a while, which is not the callers' affair either.
    let sent = rig.post("/api/auth/send-otp", &json!({ "phone": "+998901234568" })).await;
    check(&sent, 200, &message("OTP sent successfully"));
    rig.post("/api/auth/verify-otp", &json!({ "phone": NUMBER, "otp": code })).await.expect(200);
}
