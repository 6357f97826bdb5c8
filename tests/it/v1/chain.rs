//! `fallback` of a send: what may be asked for, what a project falls back on by default, and whose the code was in the end.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::both_ways;
use crate::harness::client::reply;
use crate::harness::process::run;
use crate::harness::stub::{Answer, Stub};
use crate::harness::{Client, Embedded, eventually};

both_ways!(
    mistakes_are_named_after_their_entry,
    the_inbox_shows_what_each_entry_sends,
    whoever_asks_again_begins_anew,
    the_chain_is_part_of_the_request,
    what_is_canceled_fires_nothing,
);

const LOST: &str = "+9990000008";
const ANN: &str = "ann@example.com";
const PHONE: &str = "+14155552671";

fn whatsapp(target: &str, fallback: &Value) -> Value {
    json!({ "target": target, "channel": "whatsapp", "fallback": fallback })
}

async fn dispatch(client: &Client, id: &str, n: usize, status: &str) -> Value {
    eventually(&format!("dispatch {n} to be {status}"), || async {
        let dispatch = client.record(id).await["dispatches"][n].clone();
        (dispatch["status"] == status).then_some(dispatch)
    })
    .await
}

async fn mistakes_are_named_after_their_entry(client: Client) {
    let sms = || json!({ "channel": "sms", "after": 20 });
    let mail = |after: u32| json!({ "channel": "email", "after": after, "target": ANN });
    for (fallback, message) in [
        (json!("sms"), "fallback must be a list of at most 3 objects"),
        (json!(["sms"]), "fallback must be a list of at most 3 objects"),
        (json!([mail(20), mail(20), mail(20), mail(20)]), "fallback must be a list of at most 3 objects"),
        (json!([{}]), "fallback[0].channel is required"),
        (json!([{ "channel": "fax", "after": 20 }]), "fallback[0].channel must be one of sms, email, whatsapp"),
        (json!([{ "channel": "sms" }]), "fallback[0].after is required"),
        (json!([{ "channel": "sms", "after": 4 }]), "fallback[0].after must be a whole number from 5 to 300"),
        (json!([{ "channel": "sms", "after": 20.5 }]), "fallback[0].after must be a whole number from 5 to 300"),
        (
            json!([{ "channel": "email", "after": 20 }]),
            "fallback[0].target is required: email does not go to the target of the send",
        ),
        (
            json!([sms(), { "channel": "sms", "after": 20, "target": "4155552671" }]),
            "fallback[1].countryCode is needed: target is not in international form",
        ),
        (
            json!([{ "channel": "sms", "after": 20, "target": "+1415" }]),
            "fallback[0].target must be a valid phone number",
        ),
        (
            json!([sms(), sms()]),
            "fallback[1].channel must be another one, or have another target, than what goes before",
        ),
        (
            json!([{ "channel": "whatsapp", "after": 20, "target": PHONE }]),
            "fallback[0].channel must be another one, or have another target, than what goes before",
        ),
        (
            json!([{ "channel": "sms", "after": 200 }, mail(80)]),
            "fallback[1] would go out when a code that lives 300 s is of no use any more",
        ),
    ] {
        let refused = client.send(&whatsapp(PHONE, &fallback)).await.expect(400);
        assert_eq!((refused.text("message"), refused.text("code")), (message, "invalid_request"));
    }
    let live = client.live().send(&whatsapp(PHONE, &json!([{ "channel": "sms", "after": 20, "target": LOST }]))).await;
    assert_eq!(live.expect(400).text("message"), "fallback[0].target is a sandbox number: it needs a sandbox key");
    let short = json!({ "target": PHONE, "channel": "whatsapp", "ttl": 20, "fallback": [sms()] });
    let refused = client.send(&short).await.expect(400);
    assert_eq!(refused.text("message"), "fallback[0] would go out when a code that lives 20 s is of no use any more");
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 0);

    // As long as the last one still finds a useful code, and to as many targets as one likes.
    let other = json!({ "channel": "whatsapp", "after": 30, "target": "4155552672", "countryCode": "US" });
    let most = json!([{ "channel": "sms", "after": 200 }, mail(49), other]);
    client.send(&whatsapp(PHONE, &most)).await.expect(202);
}

async fn the_inbox_shows_what_each_entry_sends(client: Client) {
    let chain =
        json!([{ "channel": "sms", "after": 5 }, { "channel": "email", "after": 5, "target": "Ann@Example.com" }]);
    let id = client.send(&whatsapp(LOST, &chain)).await.expect(202).text("recordId").to_owned();
    let code = client.code(LOST).await;
    dispatch(&client, &id, 0, "sent").await;
    client.clock.advance(Duration::from_secs(5));
    dispatch(&client, &id, 1, "sent").await;
    client.clock.advance(Duration::from_secs(5));
    let mail = dispatch(&client, &id, 2, "delivered").await;
    assert_eq!(
        (&mail["target"], &mail["fallback"]["because"]),
        (&json!("Ann@Example.com"), &json!("not delivered in time"))
    );
    let channels = client.messages(LOST).await.into_iter().map(|message| message["channel"].clone());
    assert_eq!(channels.collect::<Vec<_>>(), ["sms", "whatsapp"]);
    let messages = client.messages(ANN).await;
    assert_eq!((messages.len(), &messages[0]["code"]), (1, &json!(code)));
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 3);

    let stranger = client.verify(ANN, &code).await.expect(200).body;
    assert_eq!(stranger["reason"], "No verification found", "it is about the target of the send");
    let verified = client.verify(LOST, &code).await.expect(200).body;
    let went = |channel: &str, target: &str| json!({ "channel": channel, "target": target });
    assert_eq!(verified["sentTo"], json!([went("whatsapp", LOST), went("sms", LOST), went("email", ANN)]));
}

async fn whoever_asks_again_begins_anew(client: Client) {
    let chain = || json!([{ "channel": "sms", "after": 100 }]);
    let id = client.send(&whatsapp(LOST, &chain())).await.expect(202).text("recordId").to_owned();
    dispatch(&client, &id, 0, "sent").await;
    client.clock.advance(Duration::from_secs(35));
    assert_eq!(client.send(&whatsapp(LOST, &chain())).await.expect(202).text("recordId"), id);
    assert_eq!(dispatch(&client, &id, 1, "expired").await["error"], "sent again");
    dispatch(&client, &id, 2, "sent").await;
    dispatch(&client, &id, 3, "waiting").await;
    client.clock.advance(Duration::from_secs(100));
    dispatch(&client, &id, 3, "sent").await;
    let record = client.record(&id).await;
    assert_eq!((&record["sends"], record["dispatches"].as_array().map(Vec::len)), (&json!(2), Some(4)));
    assert_eq!(client.messages(LOST).await.len(), 3);
    let stats = client.get("/api/v1/otp/stats").await.expect(200).body;
    assert_eq!((&stats["total"], &stats["byStatus"]), (&json!(1), &json!({ "sent": 1 })));
}

async fn the_chain_is_part_of_the_request(client: Client) {
    let send = async |fallback: Option<Value>| {
        let mut body = json!({ "target": LOST, "channel": "whatsapp" });
        if let Some(fallback) = fallback {
            body["fallback"] = fallback;
        }
        reply(client.request(Method::POST, "/api/v1/otp/send").header("idempotency-key", "k").json(&body)).await
    };
    let first = send(Some(json!([{ "channel": "sms", "after": 20 }]))).await.expect(202);
    let spelled = json!([{ "after": 20, "channel": "sms", "target": LOST, "more": 1 }]);
    assert_eq!(send(Some(spelled)).await.expect(202).body, first.body);
    for other in [None, Some(json!([])), Some(json!([{ "channel": "sms", "after": 21 }]))] {
        assert_eq!(send(other).await.expect(422).text("code"), "idempotency_key_reused");
    }
}

async fn what_is_canceled_fires_nothing(client: Client) {
    let id = client.send(&whatsapp(LOST, &json!([{ "channel": "sms", "after": 200 }]))).await.expect(202);
    let id = id.text("recordId").to_owned();
    dispatch(&client, &id, 0, "sent").await;
    client.post("/api/v1/otp/cancel", &json!({ "recordId": id })).await.expect(200);
    assert_eq!(dispatch(&client, &id, 1, "expired").await["error"], "canceled");
}

/// Runs a command on the data of an embedded program.
fn cli(otpd: &Embedded, arguments: &[&str]) -> (i32, String) {
    let (code, _, log) = run(&[arguments, &["--data", &otpd.data()]].concat(), &otpd.environment);
    (code, log)
}

#[tokio::test]
async fn a_project_falls_back_on_what_fits_the_send() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let project = client.project.id.clone();
    let update = |fallback: &str| cli(&otpd, &["project", "update", &project, "--fallback", fallback]);
    for (wrong, words) in [
        ("sms", "must be CHANNEL:SECONDS"),
        ("fax:20", "must be sms, email or whatsapp"),
        ("sms:4", "sms must come 5 to 300 seconds after, not 4"),
        ("sms:20,sms:20", "sms is there twice"),
        ("sms:290", "when a code is of no use any more"),
        ("email:20", "email needs another target"),
    ] {
        let (code, log) = update(wrong);
        assert!(code == 2 && log.contains(words), "{wrong}: {code} {log}");
    }
    assert_eq!(update("sms:20,whatsapp:30").0, 0);

    // Settings are followed within two seconds.
    let numbers: Vec<_> = (10..60).map(|n| format!("+99900000{n}")).collect();
    let mut numbers = numbers.iter();
    let sent = async |body: &Value| {
        let id = client.send(body).await.expect(202).text("recordId").to_owned();
        client.record(&id).await["dispatches"].as_array().expect("dispatches").clone()
    };
    let mut next = || numbers.next().expect("a number").clone();
    let by_default = eventually("the default to be followed", || {
        let body = json!({ "target": next(), "channel": "whatsapp" });
        let sent = &sent;
        async move { Some(sent(&body).await).filter(|dispatches| dispatches.len() == 2) }
    });
    let by_default = by_default.await;
    assert_eq!((&by_default[1]["channel"], &by_default[1]["fallback"]["after"]), (&json!("sms"), &json!(20)));
    let by_sms = sent(&json!({ "target": next(), "channel": "sms" })).await;
    assert_eq!((by_sms.len(), &by_sms[1]["channel"]), (2, &json!("whatsapp")), "not by its own channel again");
    assert_eq!(sent(&json!({ "target": "bob@example.com", "channel": "email" })).await.len(), 1, "nothing fits");
    assert_eq!(sent(&whatsapp(&next(), &json!([]))).await.len(), 1, "the send says none");
    let short = json!({ "target": next(), "channel": "whatsapp", "ttl": 20 });
    assert_eq!(sent(&short).await.len(), 1, "what cannot be in time is left out");
    assert_eq!(cli(&otpd, &["project", "update", &project, "--no-fallback"]).0, 0);
}

/// A keyless door has no field for it; its project's default serves it, and a session still says who it was.
#[tokio::test]
async fn a_keyless_door_falls_back_as_its_project_does() {
    let stub = Stub::start(Answer::AT_ONCE);
    let mut settings = stub.settings();
    settings.retain(|(name, _)| !name.ends_with("CHANNELS"));
    settings.push(("OTPD_PROVIDERS__STUB__CHANNELS", "sms,whatsapp"));
    let otpd = Embedded::start_with(&settings).await;
    let client = otpd.client().live();
    assert_eq!(cli(&otpd, &["project", "update", &client.project.id, "--fallback", "whatsapp:20"]).0, 0);
    let phone = json!({ "phoneNumber": PHONE, "fallback": [{ "channel": "email", "after": 5, "target": ANN }] });
    reply(client.http.post(client.url("/api/send-otp")).json(&phone)).await.expect(200);
    let code = stub.reached(1).await.swap_remove(0).code;
    client.clock.advance(Duration::from_secs(20));
    let fallback = stub.reached(2).await.swap_remove(1);
    assert_eq!((fallback.target.as_str(), &fallback.code), (PHONE, &code));
    let guess = json!({ "phoneNumber": PHONE, "otp": code });
    let signed_in = reply(client.http.post(client.url("/api/verify-otp")).json(&guess)).await.expect(200);
    assert!(!signed_in.text("token").is_empty());
}

async fn sent_to_two(client: &Client, stub: &Stub) -> String {
    let chain = json!([{ "channel": "email", "after": 100, "target": ANN }]);
    let body = json!({ "target": PHONE, "channel": "sms", "session": true, "fallback": chain });
    let id = client.send(&body).await.expect(202).text("recordId").to_owned();
    stub.reached(1).await;
    dispatch(client, &id, 0, "sent").await;
    id
}

async fn verified(client: &Client, code: &str) -> Value {
    let guess = json!({ "target": PHONE, "code": code, "session": true, "proof": true });
    client.post("/api/v1/otp/verify", &guess).await.expect(200).body
}

#[tokio::test]
async fn nothing_is_claimed_of_a_target_when_the_code_went_to_another_too() {
    let stub = Stub::start(Answer::AT_ONCE);
    let otpd = Embedded::start_with(&stub.settings()).await;
    let client = otpd.client().live();
    sent_to_two(&client, &stub).await;
    client.clock.advance(Duration::from_secs(100));
    let arrivals = stub.reached(2).await;
    assert_eq!((arrivals[1].target.as_str(), &arrivals[1].code), (ANN, &arrivals[0].code));
    let body = verified(&client, &arrivals[0].code).await;
    assert_eq!((&body["valid"], &body["session"], &body["proof"]), (&json!(true), &Value::Null, &Value::Null));
    let both = json!([{ "channel": "sms", "target": PHONE }, { "channel": "email", "target": ANN }]);
    assert_eq!(body["sentTo"], both);
}

/// By one channel and then by another to a phone that is not the send's: its cooldown is taken once.
#[tokio::test]
async fn a_chain_has_a_pace_of_its_own_at_another_target_too() {
    let stub = Stub::start(Answer::AT_ONCE);
    let mut settings = stub.settings();
    settings.retain(|(name, _)| !name.ends_with("CHANNELS"));
    settings.push(("OTPD_PROVIDERS__STUB__CHANNELS", "sms,whatsapp,email"));
    let otpd = Embedded::start_with(&settings).await;
    let client = otpd.client().live();
    let to_phone = |channel: &str| json!({ "channel": channel, "after": 5, "target": PHONE });
    let body = json!({ "target": ANN, "channel": "email", "fallback": [to_phone("whatsapp"), to_phone("sms")] });
    let id = client.send(&body).await.expect(202).text("recordId").to_owned();
    client.hold_time().await;
    for n in 0..3 {
        dispatch(&client, &id, n, "sent").await;
        client.clock.advance(Duration::from_secs(5));
    }
    let arrivals = stub.reached(3).await;
    assert_eq!(arrivals.iter().map(|one| one.target.as_str()).collect::<Vec<_>>(), [ANN, PHONE, PHONE]);
    let by_itself = client.send(&json!({ "target": PHONE, "channel": "sms" })).await.expect(429);
    assert_eq!(by_itself.text("code"), "cooldown", "the first of them took it");
}

#[tokio::test]
async fn a_fallback_that_was_not_needed_is_in_nobodys_way() {
    let stub = Stub::start(Answer::AT_ONCE);
    let otpd = Embedded::start_with(&stub.settings()).await;
    let client = otpd.client().live();
    sent_to_two(&client, &stub).await;
    let body = verified(&client, &stub.arrivals()[0].code).await;
    assert!(body["session"].is_object() && body["proof"].is_string(), "{body}");
    assert_eq!(body["sentTo"], json!([{ "channel": "sms", "target": PHONE }]));
}

#[tokio::test]
async fn what_waits_survives_kill_9() {
    let stub = Stub::start(Answer::AT_ONCE);
    let mut otpd = Embedded::start_with(&stub.settings()).await;
    let id = sent_to_two(&otpd.client().live(), &stub).await;
    otpd.process.kill_9();
    otpd.clock.advance(Duration::from_secs(105));
    otpd.restart();
    let arrivals = stub.reached(2).await;
    assert_eq!((arrivals[1].target.as_str(), &arrivals[1].code), (ANN, &arrivals[0].code));
    assert_eq!(arrivals[1].dispatch, format!("{id}:2"));
}

#[cfg(feature = "server-tests")]
mod distributed_alone {
    use super::*;
    use crate::harness::Distributed;

    #[tokio::test]
    async fn what_waits_goes_out_by_another_worker() {
        let stub = Stub::start(Answer::AT_ONCE);
        let mut otpd = Distributed::start_with(1, 1, &stub.settings()).await;
        sent_to_two(&otpd.client().live(), &stub).await;
        otpd.kill_worker();
        otpd.clock.advance(Duration::from_secs(105));
        otpd.add_worker().await;
        let arrivals = stub.reached(2).await;
        assert_eq!((arrivals[1].target.as_str(), &arrivals[1].code), (ANN, &arrivals[0].code));
    }

    #[tokio::test]
    async fn a_channel_without_a_provider_is_no_fallback() {
        let stub = Stub::start(Answer::AT_ONCE);
        let otpd = Distributed::start_with(1, 0, &stub.settings()).await;
        let body = json!({ "target": PHONE, "channel": "sms", "fallback": [{ "channel": "whatsapp", "after": 20 }] });
        let refused = otpd.client().live().send(&body).await.expect(503);
        assert_eq!(refused.text("code"), "no_provider");
        assert!(refused.text("message").contains("whatsapp"), "{}", refused.body);
    }

    #[tokio::test]
    async fn a_fallback_to_a_country_that_is_not_served_is_refused() {
        let stub = Stub::start(Answer::AT_ONCE);
        let otpd = Distributed::prepare(&stub.settings()).await;
        let project = otpd.client().project.id;
        let (code, _, log) = run(&["project", "update", &project, "--countries", "US"], &otpd.environment);
        assert_eq!(code, 0, "{log}");
        let mut otpd = otpd;
        otpd.add_api().await;
        let chain = json!([{ "channel": "sms", "after": 20, "target": "+491701234567" }]);
        let body = json!({ "target": PHONE, "channel": "sms", "fallback": chain });
        let refused = otpd.client().live().send(&body).await.expect(400);
        assert_eq!(refused.text("message"), "fallback[0].target is in DE, where this project does not send");
    }
}
