//! Tenants and modes: what a key may see, and what it may not.

use serde_json::json;

use crate::both_ways;
use crate::harness::Client;
use crate::harness::embedded::Embedded;
use crate::harness::process::run;

both_ways!(a_live_key_sees_both_modes);

async fn open(client: &Client, record: &str) -> String {
    let body = json!({ "target": "ann@example.com", "channel": "email", "recordId": record });
    client.send(&body).await.expect(202).text("recordId").to_owned()
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn a_channel_without_a_provider_is_refused() {
    let otpd = crate::harness::Distributed::start(1, 0).await;
    let body = json!({ "target": "ann@example.com", "channel": "email" });
    let refused = otpd.client().live().send(&body).await.expect(503);
    assert_eq!(refused.body["code"], "no_provider");
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn a_sandbox_key_does_not_see_live_verifications() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let id = open(&client.live(), "live_1").await;
    client.get(&format!("/api/v1/otp/records/{id}")).await.expect(404);
    client.post("/api/v1/otp/cancel", &json!({ "recordId": id })).await.expect(404);
    let code = client.code("ann@example.com").await;
    assert_eq!(client.verify("ann@example.com", &code).await.body["reason"], "No verification found");
    assert_eq!(client.get("/api/v1/otp/stats").await.body["total"], 0);
    assert_eq!(client.get("/api/v1/otp/records").await.body["pagination"]["total"], 0);
}

async fn a_live_key_sees_both_modes(client: Client) {
    let id = open(&client, "sandbox_1").await;
    let code = client.code("ann@example.com").await;
    let live = client.live();
    assert_eq!(live.record(&id).await["mode"], "sandbox");
    assert_eq!(live.verify("ann@example.com", &code).await.body["valid"], true);
}

#[tokio::test]
async fn a_key_of_one_project_sees_nothing_of_another() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let (code, stdout, log) =
        run(&["project", "create", "Other", "--unlimited", "--json", "--data", &otpd.data()], &otpd.environment);
    assert_eq!(code, 0, "{log}");
    let other: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let text = |name: &str| other[name].as_str().expect("text").to_owned();
    let other = crate::harness::client::Project {
        id: text("project_id"),
        live_key: text("live_key"),
        sandbox_key: text("sandbox_key"),
    };
    let body = json!({ "target": "ann@example.com", "channel": "email", "recordId": "order_1" });
    let id = client.send(&body).await.expect(202).text("recordId").to_owned();
    let right = client.code("ann@example.com").await;

    let stranger = client.of(&other);
    stranger.get(&format!("/api/v1/otp/records/{id}")).await.expect(404);
    for record in [id.as_str(), "order_1"] {
        stranger.post("/api/v1/otp/cancel", &json!({ "recordId": record })).await.expect(404);
        let guess = json!({ "target": "ann@example.com", "code": right, "recordId": record });
        let answer = stranger.post("/api/v1/otp/verify", &guess).await.expect(200).body;
        assert_eq!(answer["reason"], "No verification found");
    }
    assert_eq!(stranger.verify("ann@example.com", &right).await.body["reason"], "No verification found");
    assert_eq!(stranger.get("/api/v1/otp/records").await.body["records"], json!([]));
    assert_eq!(stranger.get("/api/v1/otp/stats").await.body["total"], 0);
    assert_eq!(stranger.messages("ann@example.com").await.len(), 0);
    stranger.send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(202);
    assert_eq!(client.verify("ann@example.com", &right).await.body["valid"], true);

    let mixed = crate::harness::client::Project { id: other.id.clone(), ..client.project.clone() };
    let refused = client.of(&mixed).get("/api/v1/otp/token-info").await.expect(401);
    assert_eq!(refused.body["code"], "invalid_project");
}
