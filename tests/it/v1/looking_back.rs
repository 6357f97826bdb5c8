//! Records, timelines, statistics and the inbox.

use std::time::Duration;

use serde_json::{Value, json};

use crate::both_ways;
use crate::harness::{Client, eventually};

both_ways!(
    records_are_listed_newest_first_and_filtered,
    pages_and_cursors_see_every_record_once,
    a_timeline_tells_every_attempt,
    statistics_count_by_channel_status_provider_and_country,
    an_empty_range_has_a_rate_of_zero,
    the_inbox_needs_a_sandbox_key_and_shows_the_newest_first,
);

async fn list(client: &Client, query: &str) -> Value {
    client.get(&format!("/api/v1/otp/records?{query}")).await.expect(200).body
}

fn targets(list: &Value) -> Vec<&str> {
    list["records"].as_array().expect("records").iter().filter_map(|record| record["target"].as_str()).collect()
}

async fn records_are_listed_newest_first_and_filtered(client: Client) {
    client.send_to("ann@example.com").await;
    let code = client.code("ann@example.com").await;
    client.verify("ann@example.com", &code).await;
    client.clock.advance(Duration::from_secs(1));
    let body = json!({ "target": "+14155552671", "channel": "sms", "recordId": "order_2" });
    let id = client.send(&body).await.expect(202).text("recordId").to_owned();
    client.record_in(&id, &["delivered"]).await;

    assert_eq!(targets(&list(&client, "").await), ["+14155552671", "ann@example.com"]);
    assert_eq!(targets(&list(&client, "verified=true").await), ["ann@example.com"]);
    assert_eq!(targets(&list(&client, "channel=sms&verified=false").await), ["+14155552671"]);
    assert_eq!(targets(&list(&client, "recordId=order_2").await), ["+14155552671"]);
    assert_eq!(targets(&list(&client, "status=failed").await), Vec::<&str>::new());
    assert_eq!(targets(&list(&client, "status=delivered").await).len(), 2);
    assert_eq!(targets(&list(&client, "dateFrom=2999-01-01").await), Vec::<&str>::new());
    assert_eq!(targets(&list(&client, "dateTo=2001-01-01").await), Vec::<&str>::new());
    let newest = &list(&client, "limit=1").await["records"][0];
    let fields = [
        "id",
        "target",
        "channel",
        "verified",
        "recordId",
        "createdAt",
        "expiresAt",
        "status",
        "provider",
        "deliveredAt",
        "error",
    ];
    for field in fields {
        assert!(newest.get(field).is_some(), "{field} in {newest}");
    }
    assert_eq!(newest["provider"], "sandbox");
}

async fn pages_and_cursors_see_every_record_once(client: Client) {
    for n in 0..7 {
        client.send_to(&format!("user{n}@example.com")).await;
    }
    let second = list(&client, "page=2&limit=3").await;
    assert_eq!(second["pagination"]["total"], 7);
    assert_eq!(second["pagination"]["pages"], 3);
    let mut seen = Vec::new();
    let mut query = "limit=3".to_owned();
    loop {
        let page = list(&client, &query).await;
        seen.extend(targets(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["pagination"]["nextCursor"].as_str() else { break };
        query = format!("limit=3&cursor={cursor}");
    }
    seen.sort();
    assert_eq!(seen, (0..7).map(|n| format!("user{n}@example.com")).collect::<Vec<_>>());
}

async fn a_timeline_tells_every_attempt(client: Client) {
    let id = client.send_to("fail2@sandbox.otpd").await;
    for (attempts, wait) in [(1, 3), (2, 10)] {
        eventually("the next attempt to fail", || async {
            let record = client.record(&id).await;
            let dispatch = &record["dispatches"][0];
            let made = dispatch["attempts"].as_array()?.len() >= attempts && dispatch["status"] != "sending";
            made.then_some(())
        })
        .await;
        client.clock.advance(Duration::from_secs(wait));
    }
    let record = client.record_in(&id, &["sent", "delivered"]).await;
    let attempts = record["dispatches"][0]["attempts"].as_array().expect("attempts");
    let causes: Vec<_> = attempts.iter().map(|attempt| attempt["cause"].as_str()).collect();
    assert_eq!(causes, [Some("unavailable"), Some("unavailable"), None]);
    assert!(attempts.iter().all(|attempt| attempt["startedAt"].is_string() && attempt["finishedAt"].is_string()));
}

async fn statistics_count_by_channel_status_provider_and_country(client: Client) {
    for (target, channel) in [("ann@example.com", "email"), ("+14155552671", "sms"), ("+4930123456", "sms")] {
        let id = client.send(&json!({ "target": target, "channel": channel })).await.expect(202);
        client.record_in(id.text("recordId"), &["delivered"]).await;
    }
    let failed = client.send_to("rejected@sandbox.otpd").await;
    client.record_in(&failed, &["failed"]).await;
    let code = client.code("ann@example.com").await;
    client.verify("ann@example.com", &code).await;

    let stats = client.get("/api/v1/otp/stats").await.expect(200).body;
    assert_eq!((&stats["total"], &stats["verified"], &stats["unverified"]), (&4.into(), &1.into(), &3.into()));
    assert_eq!(stats["verificationRate"], "25.00");
    assert_eq!(stats["byChannel"], json!({ "email": 2, "sms": 2 }));
    assert_eq!(stats["byStatus"], json!({ "delivered": 3, "failed": 1 }));
    assert_eq!(stats["byProvider"], json!({ "sandbox": 4 }));
    assert_eq!(stats["byCountry"], json!({ "US": 1, "DE": 1 }));
}

async fn an_empty_range_has_a_rate_of_zero(client: Client) {
    let stats = client.get("/api/v1/otp/stats?dateFrom=2025-07-01&dateTo=2025-07-13").await.expect(200).body;
    assert_eq!((&stats["total"], &stats["verificationRate"]), (&0.into(), &"0.00".into()));
    assert_eq!(stats["dateFrom"], "2025-07-01T00:00:00.000Z");
    assert_eq!(stats["dateTo"], "2025-07-14T00:00:00.000Z");
    assert_eq!(stats["byChannel"], json!({}));
}

async fn the_inbox_needs_a_sandbox_key_and_shows_the_newest_first(client: Client) {
    let refused = client.live().get("/api/v1/sandbox/messages").await.expect(403);
    assert_eq!(refused.body["code"], "sandbox_key_required");
    for target in ["ann@example.com", "bob@example.com"] {
        client.send_to(target).await;
        client.code(target).await;
        client.clock.advance(Duration::from_secs(1));
    }
    let all = client.get("/api/v1/sandbox/messages").await.expect(200).body;
    let targets: Vec<_> = all["messages"].as_array().expect("messages").iter().map(|m| m["target"].clone()).collect();
    assert_eq!(targets, ["bob@example.com", "ann@example.com"]);
    let message = &all["messages"][0];
    let code = message["code"].as_str().expect("code");
    assert!(message["text"].as_str().expect("text").contains(code));
    assert!(message["html"].as_str().expect("html").contains(code));
    client.clock.advance(Duration::from_secs(24 * 3600 + 60));
    assert_eq!(client.messages("ann@example.com").await, Vec::<Value>::new());
}
