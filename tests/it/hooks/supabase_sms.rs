//! Supabase's Send SMS hook: what is sent, what comes again, what the person is told.

use std::time::Duration;

use serde_json::json;

use super::{NUMBER, SECRETS, SMS, call, open, records, sms, tokens_used, told};
use crate::harness::stub::{Answer, Stub};
use crate::harness::{Embedded, eventually};

#[tokio::test]
async fn a_code_goes_out_as_it_was_given() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    let reply = call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200);
    assert_eq!((reply.header("content-type"), &reply.body), (Some("application/json"), &json!({})));
    assert_eq!(client.code(NUMBER).await, "001122");
    let text = client.messages(NUMBER).await[0]["text"].as_str().expect("a text").to_owned();
    assert!(text.contains("001122"), "{text}");
    let record = &records(&client).await[0];
    assert_eq!((&record["target"], &record["recordId"]), (&json!(NUMBER), &json!("door:supabase:sms")));
}

#[tokio::test]
async fn a_try_that_comes_again_sends_nothing_again() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    for _ in 0..3 {
        assert_eq!(call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200).body, json!({}));
    }
    client.code(NUMBER).await;
    assert_eq!((client.messages(NUMBER).await.len(), tokens_used(&client).await), (1, json!(1)));
    let (status, _) = told(call(&client, SMS, &sms("u2", NUMBER, "001122")).await);
    assert_eq!(status, 429, "another message, within the cooldown");
    client.clock.advance(Duration::from_secs(31));
    assert_eq!(call(&client, SMS, &sms("u2", NUMBER, "334455")).await.expect(200).body, json!({}));
    eventually("the second code", || async { (client.code(NUMBER).await == "334455").then_some(()) }).await;
}

#[tokio::test]
async fn without_metadata_the_webhook_id_says_what_comes_again() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    let mut payload = sms("", NUMBER, "001122");
    call(&client, SMS, &payload).await.expect(200);
    payload.as_object_mut().expect("an object").remove("metadata");
    assert_eq!(told(call(&client, SMS, &payload).await).0, 429);
}

#[tokio::test]
async fn people_are_told_what_concerns_them() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200);
    let (status, message) = told(call(&client, SMS, &sms("u2", NUMBER, "001122")).await);
    assert!(status == 429 && message.starts_with("Too many requests: try again in "), "{message}");
    for number in ["+1415", "+99900000001", "+4155552671999999", "+abc"] {
        let refused = told(call(&client, SMS, &sms("u3", number, "001122")).await);
        assert_eq!(refused, (400, "Phone number is invalid".to_owned()), "{number}");
    }
    update(&otpd, &["--countries", "DE"]);
    let elsewhere = eventually("the new countries", || async {
        let (status, message) = told(call(&client, SMS, &sms("u4", NUMBER, "001122")).await);
        (status == 400).then_some(message)
    });
    assert_eq!(elsewhere.await, "Codes are not sent to this country");
    assert_eq!((records(&client).await.len(), tokens_used(&client).await), (1, json!(1)));
}

fn update(otpd: &Embedded, setting: &[&str]) {
    let (id, data) = (otpd.client().project.id, otpd.data());
    let arguments = [&["project", "update", &id, "--data", &data], setting].concat();
    assert_eq!(crate::harness::process::run(&arguments, &otpd.environment).0, 0);
}

#[tokio::test]
async fn nobody_is_told_that_tokens_have_run_out() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    update(&otpd, &["--tokens", "0"]);
    let refused = eventually("the new balance", || async {
        let number = format!("+1415555{}", 2000 + client.clock.now_s() % 1000);
        client.clock.advance(Duration::from_secs(31));
        let reply = call(&client, SMS, &sms(&number, &number, "001122")).await;
        (!reply.body["error"].is_null()).then(|| told(reply))
    });
    assert_eq!(refused.await, (503, "The code could not be sent".to_owned()));
}

#[tokio::test]
async fn a_second_factor_does_not_supersede_a_login() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200);
    client.clock.advance(Duration::from_secs(31));
    let mut second = sms("u2", NUMBER, "334455");
    second["sms"]["sms_type"] = json!("mfa");
    call(&client, SMS, &second).await.expect(200);
    let mut states = Vec::new();
    for record in records(&client).await {
        let timeline = client.live().record(record["id"].as_str().expect("an id")).await;
        states.push((record["recordId"].clone(), timeline["state"].clone()));
    }
    assert_eq!(states, [(json!("door:supabase:sms:mfa"), json!("open")), (json!("door:supabase:sms"), json!("open"))]);
}

#[tokio::test]
async fn it_is_answered_before_anything_is_delivered() {
    let stub = Stub::start(Answer::NEVER);
    let settings = [vec![SECRETS], stub.settings()].concat();
    let otpd = Embedded::start_with(&settings).await;
    let client = otpd.client();
    call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200);
    let timeline = client.live().record(records(&client).await[0]["id"].as_str().expect("an id")).await;
    assert_eq!(timeline["dispatches"][0]["attempts"], json!([]), "Supabase does not wait until there was one");
    assert_eq!(stub.reached(1).await[0].code, "001122");
}

#[cfg(feature = "server-tests")]
mod distributed {
    use super::*;
    use crate::harness::Distributed;
    use crate::harness::proxy::{Line, Proxy};

    /// An API whose Supabase door is open, and whose way to the store can be cut.
    async fn start(settings: &[(&str, &str)]) -> (Distributed, Proxy) {
        let mut otpd = Distributed::prepare(&[&[SECRETS], settings].concat()).await;
        let project = otpd.client().project.id;
        otpd.environment.insert("OTPD_DOORS__SUPABASE__PROJECT".to_owned(), project);
        let proxy = Proxy::before(&mut otpd.environment, "OTPD_STORE__URL");
        otpd.add_api().await;
        (otpd, proxy)
    }

    #[tokio::test]
    async fn supabase_is_asked_to_come_again_while_the_store_is_away() {
        let stub = Stub::start(Answer::AT_ONCE);
        let (mut otpd, store) = start(&stub.settings()).await;
        let client = otpd.client();
        call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200);
        store.set(Line::Cut);
        let away = call(&client, SMS, &sms("u2", "+14155552672", "334455")).await.expect(503);
        assert!(away.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|wait| wait >= 1)));
        assert_eq!(away.body["error"]["http_code"], 503);

        store.set(Line::Open);
        let back = || async {
            let reply = call(&client, SMS, &sms("u2", "+14155552672", "334455")).await;
            (reply.status == 200).then_some(reply.body)
        };
        assert_eq!(eventually("the store", back).await, json!({}));
        otpd.add_worker().await;
        let mut codes: Vec<_> = stub.reached(2).await.into_iter().map(|arrival| arrival.code).collect();
        codes.sort();
        assert_eq!(codes, ["001122", "334455"]);
    }

    #[tokio::test]
    async fn nobody_is_told_that_there_is_no_provider() {
        let (otpd, _store) = start(&[]).await;
        let refused = told(call(&otpd.client(), SMS, &sms("u1", NUMBER, "001122")).await);
        assert_eq!(refused, (503, "The code could not be sent".to_owned()));
    }
}
