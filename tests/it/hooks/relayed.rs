//! What otpd delivers and does not check: it takes no guesses, is told apart in records and statistics, and costs what
//! any message costs.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{ANN, EMAIL, KRATOS, NUMBER, SECRETS, SMS, call, courier, email, new_key, open, records, sms, tokens_used};
use crate::harness::client::reply;
use crate::harness::process::run;
use crate::harness::stub::{Answer, Stub};
use crate::harness::{Client, Embedded, eventually};

/// Long enough to be found nowhere by chance.
const CODE: &str = "0846291573";

async fn kratos(client: &Client, recipient: &str, code: &str) {
    let body = json!({ "recipient": recipient, "template_type": "login_code_valid", "code": code });
    client.post(KRATOS, &body).await.expect(200);
}

async fn newest(client: &Client) -> String {
    records(client).await[0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn providers_get_the_code_that_was_given() {
    let stub = Stub::start(Answer::AT_ONCE);
    let otpd = Embedded::start_with(&[vec![SECRETS], stub.settings()].concat()).await;
    let client = courier(&otpd, false);
    call(&client, SMS, &sms("u1", NUMBER, "000123")).await.expect(200);
    call(&client, EMAIL, &email("u2", "magiclink", [ANN, ""], ["0000000001", ""])).await.expect(200);
    kratos(&client, "bob@example.com", "0000").await;
    let mut arrived: Vec<_> = stub.reached(3).await.into_iter().map(|seen| (seen.target, seen.code)).collect();
    arrived.sort();
    let expected = [(NUMBER, "000123"), (ANN, "0000000001"), ("bob@example.com", "0000")];
    assert_eq!(arrived, expected.map(|(target, code)| (target.to_owned(), code.to_owned())));
}

#[tokio::test]
async fn nobody_can_guess_at_it_or_cancel_it() {
    let otpd = open(&[]).await;
    let client = otpd.client().live();
    call(&client, SMS, &sms("u1", NUMBER, CODE)).await.expect(200);
    let id = newest(&client).await;
    let none = json!({ "valid": false, "reason": "No verification found", "attemptsLeft": 0 });
    assert_eq!(client.verify(NUMBER, CODE).await.expect(200).body, none);
    let by_id = json!({ "target": NUMBER, "code": CODE, "recordId": id });
    assert_eq!(client.post("/api/v1/otp/verify", &by_id).await.expect(200).body, none);
    let by_record = json!({ "target": NUMBER, "code": CODE, "recordId": "door:supabase:sms" });
    client.post("/api/v1/otp/verify", &by_record).await.expect(400);
    client.post("/api/v1/otp/cancel", &json!({ "recordId": id })).await.expect(404);
    let record = client.record_in(&id, &["sent", "delivered"]).await;
    assert_eq!((&record["state"], &record["guesses"], &record["verified"]), (&json!("open"), &json!(0), &Value::Null));
}

#[tokio::test]
async fn clients_of_twilio_do_not_see_it() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    call(&client, SMS, &sms("u1", NUMBER, CODE)).await.expect(200);
    let pair = new_key(&otpd, &["--twilio"]);
    let text = |name: &str| pair[name].as_str().expect("text");
    let sid = format!("VE{}", newest(&client).await.replace('-', ""));
    let call = |path: &str, form: Option<[(&'static str, String); 2]>| {
        let url = client.url(&format!("/v2/Services/{}/{path}", text("service_sid")));
        let request = if form.is_some() { client.http.post(url) } else { client.http.get(url) };
        let request = request.basic_auth(text("account_sid"), Some(text("auth_token")));
        reply(form.iter().fold(request, RequestBuilder::form))
    };
    let code = ("Code", CODE.to_owned());
    for named in [("To", NUMBER.to_owned()), ("VerificationSid", sid.clone())] {
        let checked = call("VerificationCheck", Some([named, code.clone()])).await.expect(404);
        assert_eq!(checked.body["code"], 20404);
    }
    for named in [NUMBER, &sid] {
        call(&format!("Verifications/{named}"), None).await.expect(404);
    }
    let approve = [("Status", "approved".to_owned()), code];
    call(&format!("Verifications/{sid}"), Some(approve)).await.expect(404);
}

#[tokio::test]
async fn a_code_of_ours_stays_what_it_is_beside_it() {
    let otpd = open(&[]).await;
    let client = otpd.client().live();
    client.send(&json!({ "target": NUMBER, "channel": "sms" })).await.expect(202);
    let ours = client.code(NUMBER).await;
    client.clock.advance(Duration::from_secs(31));
    call(&client, SMS, &sms("u1", NUMBER, CODE)).await.expect(200);
    let wrong = client.verify(NUMBER, CODE).await.body;
    assert_eq!(wrong, json!({ "valid": false, "reason": "Invalid code", "attemptsLeft": 4 }));
    assert_eq!(client.verify(NUMBER, &ours).await.body["valid"], true);
}

#[tokio::test]
async fn it_is_counted_apart() {
    let otpd = open(&[]).await;
    let client = courier(&otpd, false);
    client.send_to("own@example.com").await;
    let code = client.code("own@example.com").await;
    assert_eq!(client.verify("own@example.com", &code).await.body["valid"], true);
    call(&client, SMS, &sms("u1", NUMBER, CODE)).await.expect(200);
    kratos(&client, ANN, CODE).await;

    let stats = client.get("/api/v1/otp/stats").await.expect(200).body;
    assert_eq!((&stats["total"], &stats["verified"], &stats["relayed"]), (&json!(1), &json!(1), &json!(2)));
    assert_eq!((&stats["verificationRate"], &stats["byChannel"]), (&json!("100.00"), &json!({ "email": 1 })));
    let verified: Vec<_> = records(&client).await.iter().map(|record| record["verified"].clone()).collect();
    assert_eq!(verified, [Value::Null, Value::Null, json!(true)]);
    let listed = client.get("/api/v1/otp/records?channel=sms").await.expect(200).body;
    assert_eq!(listed["pagination"]["total"], 1);
    let unverified = client.get("/api/v1/otp/records?verified=false").await.expect(200).body;
    assert_eq!(unverified["records"], json!([]));
}

#[tokio::test]
async fn it_costs_a_token_that_comes_back_when_it_fails() {
    let otpd = open(&[]).await;
    let client = courier(&otpd, true);
    kratos(&client, "any@sandbox.otpd", CODE).await;
    let delivered = client.record_in(&newest(&client).await, &["delivered"]).await;
    assert_eq!((&delivered["mode"], tokens_used(&client).await), (&json!("sandbox"), json!(1)));
    kratos(&client, "rejected@sandbox.otpd", CODE).await;
    client.record_in(&newest(&client).await, &["failed"]).await;
    assert_eq!(tokens_used(&client).await, json!(1));
}

#[tokio::test]
async fn no_log_has_the_code_or_whom_it_is_for() {
    let otpd = open(&[("OTPD_LOG__LEVEL", "debug"), ("OTPD_LOG__SAMPLE", "1")]).await;
    let client = courier(&otpd, false);
    call(&client, SMS, &sms("u1", NUMBER, CODE)).await.expect(200);
    call(&client, SMS, &sms("u2", NUMBER, CODE)).await.expect(200);
    call(&client, SMS, &sms("u3", "+1415", CODE)).await.expect(200);
    call(&client, EMAIL, &email("u4", "signup", [ANN, ""], [CODE, ""])).await.expect(200);
    kratos(&client, "bob@example.com", CODE).await;
    for target in [NUMBER, ANN, "bob@example.com"] {
        client.code(target).await;
    }
    otpd.process.says("a hook was refused").await;
    let log = otpd.process.log_text();
    for secret in [CODE, "14155552671", ANN, "bob@example.com", &super::SECRET[6..]] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn no_idempotency_key_of_a_caller_is_a_message_of_a_hook() {
    let otpd = open(&[]).await;
    let client = otpd.client().live();
    call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200);
    let send = |key: &str| {
        let request = client.request(Method::POST, "/api/v1/otp/send").header("idempotency-key", key);
        reply(request.json(&json!({ "target": ANN, "channel": "email" })))
    };
    send("supabase:u1").await.expect(202);
    send("supabase:u2").await.expect(429);
    client.clock.advance(Duration::from_secs(31));
    send("supabase:u2").await.expect(202);
    call(&client, SMS, &sms("u2", NUMBER, "003344")).await.expect(200);
    assert_eq!(records(&client).await.len(), 3, "each was sent");
}

#[tokio::test]
async fn a_country_that_is_not_sent_to_is_named_in_the_hooks_words() {
    let otpd = open(&[]).await;
    let client = courier(&otpd, false);
    let update = ["project", "update", &client.project.id, "--countries", "UZ", "--json", "--data", &otpd.data()];
    assert_eq!(run(&update, &otpd.environment).0, 0);
    let body = json!({ "recipient": NUMBER, "template_type": "login_code_valid", "code": CODE });
    let refused = eventually("the new countries", || async {
        Some(client.post(KRATOS, &body).await).filter(|reply| reply.status == 400)
    });
    assert_eq!(refused.await.body["message"], "recipient is in US, where this project does not send");
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn a_newer_code_supersedes_one_that_still_waits() {
    let stub = Stub::start(Answer::AT_ONCE);
    let mut otpd = crate::harness::Distributed::prepare(&[vec![SECRETS], stub.settings()].concat()).await;
    let project = otpd.client().project.id;
    otpd.environment.insert("OTPD_DOORS__SUPABASE__PROJECT".to_owned(), project);
    otpd.add_api().await;
    let client = otpd.client().live();
    call(&client, SMS, &sms("u1", NUMBER, "001122")).await.expect(200);
    let old = newest(&client).await;
    client.clock.advance(Duration::from_secs(31));
    call(&client, SMS, &sms("u2", NUMBER, "003344")).await.expect(200);
    let new = newest(&client).await;
    otpd.add_worker().await;
    client.record_in(&new, &["sent"]).await;
    let ended = client.record_in(&old, &["expired"]).await;
    assert_eq!((&ended["state"], &ended["dispatches"][0]["error"]), (&json!("superseded"), &json!("superseded")));
    let codes: Vec<_> = stub.arrivals().into_iter().map(|arrival| arrival.code).collect();
    assert_eq!((codes, tokens_used(&client).await), (vec!["003344".to_owned()], json!(1)));
}
