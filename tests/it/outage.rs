//! Servers that go away and come back, or come late, and messages that nobody can read.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::harness::broker::Broker;
use crate::harness::burst::{Burst, ambiguous, assert_handed_over_once, timelines};
use crate::harness::client::reply;
use crate::harness::proxy::{Line, Proxy};
use crate::harness::stub::{Answer, Stub};
use crate::harness::{Client, Distributed, eventually};

const SLOW: Answer = Answer::after(Duration::from_millis(100));
/// More than the ten seconds of a provider and the five around them.
const LEASE: Duration = Duration::from_secs(16);

/// No step of a request takes longer, whatever has happened to the store: the API itself would end it after half a minute.
const PATIENCE: Duration = Duration::from_secs(25);

/// One API and one worker whose way to a server leads over a line that can be cut.
async fn start_behind(setting: &str, stub: &Stub) -> (Distributed, Proxy) {
    let mut otpd = Distributed::prepare(&stub.settings()).await;
    let proxy = Proxy::before(&mut otpd.environment, setting);
    otpd.add_api().await;
    otpd.add_worker().await;
    (otpd, proxy)
}

/// The worded `/readyz`, once it begins with this.
async fn readiness(client: &Client, state: &str, status: u16) -> String {
    eventually(state, || async {
        let reply = reply(client.http.get(format!("{}/readyz", client.admin))).await;
        let words = reply.body.as_str()?.to_owned();
        (words.lines().next() == Some(state) && reply.status == status).then_some(words)
    })
    .await
}

#[tokio::test]
async fn sends_are_accepted_while_the_broker_is_away_and_delivered_when_it_is_back() {
    let stub = Stub::start(SLOW);
    let (otpd, broker) = start_behind("OTPD_QUEUE__URL", &stub).await;
    let client = otpd.client().live();
    let burst = Burst::start(&client, "cut", 300);
    burst.reached(100).await;
    broker.set(Line::Cut);
    let answers = burst.ended().await;
    assert_eq!(answers.unanswered, Vec::<String>::new(), "accepts go on");
    let words = readiness(&client, "degraded", 200).await;
    assert!(words.contains("RabbitMQ") && words.contains("sends are accepted and wait"), "{words}");

    broker.set(Line::Open);
    readiness(&client, "ready", 200).await;
    assert_handed_over_once(&stub, &timelines(&client, &answers.sent).await);
}

#[tokio::test]
async fn a_broker_that_falls_silent_holds_up_no_send() {
    let stub = Stub::start(SLOW);
    let (otpd, broker) = start_behind("OTPD_QUEUE__URL", &stub).await;
    let client = otpd.client().live();
    client.send_to("before@example.com").await;
    stub.reached(1).await;
    broker.set(Line::Silent);
    let answers = Burst::start(&client, "silent", 100).ended().await;
    assert_eq!(answers.unanswered, Vec::<String>::new(), "accepts go on");
    readiness(&client, "degraded", 200).await;

    broker.set(Line::Open);
    assert_handed_over_once(&stub, &timelines(&client, &answers.sent).await);
}

#[tokio::test]
async fn nothing_is_accepted_while_the_store_is_away_and_all_works_when_it_is_back() {
    for line in [Line::Cut, Line::Silent] {
        let stub = Stub::start(SLOW);
        let (otpd, store) = start_behind("OTPD_STORE__URL", &stub).await;
        let client = otpd.client().live();
        let before = Burst::start(&client, "before", 20).ended().await;
        store.set(line);
        let asked = Instant::now();
        let body = serde_json::json!({ "target": "ann@example.com", "channel": "email" });
        let refused = client.send(&body).await.expect(503);
        assert!(asked.elapsed() < PATIENCE, "{line:?}: {:?}", asked.elapsed());
        assert_eq!(refused.text("code"), "unavailable");
        assert_eq!(refused.body["statusCode"], 503);
        assert!(refused.header("retry-after").is_some());
        readiness(&client, "not ready", 503).await;

        store.set(Line::Open);
        readiness(&client, "ready", 200).await;
        let after = Burst::start(&client, "after", 20).ended().await;
        assert_eq!(after.unanswered, Vec::<String>::new(), "{line:?}");
        let sent = [before.sent, after.sent].concat();
        assert_handed_over_once(&stub, &timelines(&client, &sent).await);
        let total = client.get("/api/v1/otp/stats").await.expect(200).body["total"].clone();
        assert_eq!(total, 40, "what was refused was not accepted");
    }
}

#[tokio::test]
async fn a_store_cut_in_a_burst_loses_nothing_that_was_accepted() {
    let stub = Stub::start(SLOW);
    let (otpd, store) = start_behind("OTPD_STORE__URL", &stub).await;
    let client = otpd.client().live();
    let burst = Burst::start(&client, "cut", 300);
    burst.reached(100).await;
    stub.reached(20).await;
    store.set(Line::Cut);
    let answers = burst.ended().await;
    assert!(!answers.unanswered.is_empty(), "the burst was over before");

    store.set(Line::Open);
    readiness(&client, "ready", 200).await;
    assert_handed_over_once(&stub, &timelines(&client, &answers.sent).await);
}

#[tokio::test]
async fn connections_to_the_store_that_die_without_a_word_are_replaced() {
    let stub = Stub::start(SLOW);
    let (otpd, store) = start_behind("OTPD_STORE__URL", &stub).await;
    let client = otpd.client().live();
    let burst = Burst::start(&client, "lost", 300);
    burst.reached(100).await;
    stub.reached(20).await;
    store.lose_connections();
    let looks = || join_all((0..8).map(|_| client.get("/api/v1/otp/stats")));
    let asked = Instant::now();
    looks().await;
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    let mut sent = burst.ended().await.sent;
    eventually("good connections", || async { looks().await.iter().all(|reply| reply.status == 200).then_some(()) })
        .await;

    let after = Burst::start(&client, "after", 50).ended().await;
    assert_eq!(after.unanswered, Vec::<String>::new());
    sent.extend(after.sent);
    assert_handed_over_once(&stub, &timelines(&client, &sent).await);
}

#[tokio::test]
async fn programs_wait_for_servers_that_are_not_there_yet() {
    let mut otpd = Distributed::prepare(&[]).await;
    let store = Proxy::before(&mut otpd.environment, "OTPD_STORE__URL");
    let broker = Proxy::before(&mut otpd.environment, "OTPD_QUEUE__URL");
    store.set(Line::Cut);
    broker.set(Line::Cut);
    otpd.add_api().await;
    otpd.add_worker().await;
    for process in [&otpd.apis[0], &otpd.workers[0]] {
        process.says("waiting for PostgreSQL at 127.0.0.1:").await;
        process.says("waiting for RabbitMQ at ").await;
    }
    let client = otpd.client();
    client.send(&serde_json::json!({ "target": "ann@example.com", "channel": "email" })).await.expect(503);

    store.set(Line::Open);
    readiness(&client, "degraded", 200).await;
    let id = client.send_to("ann@example.com").await;
    broker.set(Line::Open);
    readiness(&client, "ready", 200).await;
    client.clock.advance(Duration::from_secs(10));
    client.record_in(&id, &["delivered"]).await;
}

#[tokio::test]
async fn programs_wait_for_the_schema() {
    let mut otpd = Distributed::unmigrated(&[]).await;
    otpd.add_api().await;
    otpd.add_worker().await;
    for process in [&otpd.apis[0], &otpd.workers[0]] {
        process.says("waiting for the schema in PostgreSQL").await;
    }
    otpd.migrate();
    let client = otpd.client();
    let id = client.send_to("ann@example.com").await;
    client.record_in(&id, &["delivered"]).await;
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_and_jobs_go_on() {
    let otpd = Distributed::start(1, 1).await;
    let (client, broker) = (otpd.client(), Broker::of(&otpd).await);
    let garbage = ["hello", "{}", r#"{"v":1,"dispatch":"x","attempt":1,"deadline":0}"#];
    for message in garbage {
        broker.publish(message).await;
    }
    let id = client.send_to("ann@example.com").await;
    client.record_in(&id, &["delivered"]).await;
    let mut dead = Vec::new();
    for _ in garbage {
        dead.push(broker.dead_letter().await);
    }
    dead.sort();
    let mut garbage = garbage.to_vec();
    garbage.sort_unstable();
    assert_eq!(dead, garbage);
}

#[tokio::test]
async fn a_job_of_nobody_is_no_poison() {
    let otpd = Distributed::start(1, 1).await;
    let (client, broker) = (otpd.client(), Broker::of(&otpd).await);
    let id = client.send_to("ann@example.com").await;
    client.record_in(&id, &["delivered"]).await;
    let unknown = r#"{"v":1,"dispatch":"018f0000-0000-7000-8000-000000000000:1","attempt":1,"deadline":0}"#;
    let repeated = format!(r#"{{"v":1,"dispatch":"{id}:1","attempt":1,"deadline":0}}"#);
    broker.publish(unknown).await;
    broker.publish(&repeated).await;
    let next = client.send_to("bob@example.com").await;
    client.record_in(&next, &["delivered"]).await;
    assert_eq!(client.messages("ann@example.com").await.len(), 1, "a repeated job sends nothing again");
    assert_eq!(broker.dead_letters().await, 0);
}

#[tokio::test]
async fn a_newer_message_is_left_for_a_newer_worker() {
    let mut otpd = Distributed::start(1, 1).await;
    let broker = Broker::of(&otpd).await;
    let newer = r#"{"v":2,"anything":1}"#;
    broker.publish(newer).await;
    otpd.workers[0].says("this worker pauses").await;
    assert_eq!(otpd.workers[0].terminate().await.code(), Some(0));
    assert_eq!(broker.job().await, newer);
    assert_eq!(broker.dead_letters().await, 0);
}

#[tokio::test]
async fn what_a_dead_worker_held_goes_out_again_when_its_lease_ends() {
    let stub = Stub::start(Answer::NEVER);
    let mut otpd = Distributed::start_with(1, 1, &stub.settings()).await;
    let client = otpd.client().live();
    let id = client.send_to("ann@example.com").await;
    stub.reached(1).await;
    stub.answer(Answer::AT_ONCE);
    otpd.kill_worker();
    otpd.add_worker().await;
    client.clock.advance(LEASE);

    let record = client.record_in(&id, &["sent"]).await;
    let dispatch = &record["dispatches"][0];
    let attempts = dispatch["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.iter().map(|attempt| &attempt["number"]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(ambiguous(dispatch), 1, "{record}");
    assert_eq!((&attempts[0]["cause"], &attempts[1]["status"]), (&"ambiguous".into(), &"sent".into()));
    assert_handed_over_once(&stub, &[record]);
}

#[tokio::test]
async fn relays_that_publish_what_is_under_way_cause_no_second_delivery() {
    let stub = Stub::start(Answer::after(Duration::from_millis(500)));
    let settings = [stub.settings(), vec![("OTPD_WORKER__CONCURRENCY", "40")]].concat();
    let otpd = Distributed::start_with(2, 2, &settings).await;
    let client = otpd.client().live();
    let burst = Burst::start(&client, "relay", 300);
    // All are accepted before time moves on: to an API whose clock is behind by that much, the other's pace is too fast.
    let answers = burst.ended().await;
    // Late enough for the relays, too early for any lease.
    client.clock.advance(Duration::from_secs(7));
    let timelines = timelines(&client, &answers.sent).await;
    assert_handed_over_once(&stub, &timelines);
    assert_eq!((answers.sent.len(), stub.arrivals().len()), (300, 300));
}
