//! Whom the keyless doors stand for: each its project, `/api/me` the first of them, `/auth/logout` all of them; and what is
//! bound in vain is said.

use reqwest::Method;
use serde_json::{Value, json};

use super::login::serve;
use crate::harness::client::{Client, Project, Reply, reply};
use crate::harness::process::{Environment, run};
use crate::harness::{Embedded, eventually};

const NUMBER: &str = "+14155552671";
const PAGE: &str = "https://app.example.com";
const STRANGER: &str = "https://evil.example";

/// A new project in this data directory.
fn create(data: &str, flags: &[&str]) -> Project {
    let create = [&["project", "create", "Other", "--unlimited", "--json", "--data", data], flags].concat();
    let (code, made, log) = run(&create, &Environment::new());
    assert_eq!(code, 0, "{log}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    Project { id: text("project_id"), live_key: text("live_key"), sandbox_key: text("sandbox_key") }
}

/// Logs in through the mobile door of this client's project; the tokens.
async fn log_in(client: &Client) -> Value {
    let sent = client.http.post(client.url("/auth/mobile")).json(&json!({ "mobile": NUMBER }));
    reply(sent).await.expect(200);
    let guess = json!({ "mobile": NUMBER, "code": client.code(NUMBER).await });
    reply(client.http.post(client.url("/auth/code")).json(&guess)).await.expect(200).body["data"]["tokens"].clone()
}

async fn preflight(client: &Client, path: &str, origin: &str) -> Reply {
    let request = client.http.request(Method::OPTIONS, client.url(path)).header("origin", origin);
    reply(request.header("access-control-request-method", "POST")).await
}

#[tokio::test]
async fn a_logout_is_for_people_and_pages_of_every_door() {
    let mut otpd = Embedded::start().await;
    let other = create(&otpd.data(), &["--allowed-origins", PAGE]);
    otpd.environment.insert("OTPD_DOORS__MOBILE__PROJECT".to_owned(), other.id.clone());
    otpd.restart();
    let client = otpd.client().of(&other);
    let allowed = |reply: &Reply| reply.header("access-control-allow-origin").map(str::to_owned);
    assert_eq!(allowed(&preflight(&client, "/auth/logout", PAGE).await).as_deref(), Some(PAGE));
    assert_eq!(allowed(&preflight(&client, "/auth/mobile", PAGE).await).as_deref(), Some(PAGE));
    assert_eq!(allowed(&preflight(&client, "/api/send-otp", PAGE).await), None, "that is another project's door");
    assert_eq!(allowed(&preflight(&client, "/auth/logout", STRANGER).await), None);

    let tokens = log_in(&client).await;
    let access = tokens["accessToken"].as_str().expect("a token");
    reply(client.http.get(client.url("/api/me")).bearer_auth(access)).await.expect(401);
    reply(client.http.post(client.url("/auth/logout")).bearer_auth(access)).await.expect(200);
    let refresh = json!({ "refreshToken": tokens["refreshToken"] });
    reply(client.http.post(client.url("/auth/refresh-token")).json(&refresh)).await.expect(401);
}

#[tokio::test]
async fn who_one_is_can_be_asked_where_only_one_door_is_bound() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let data = dir.path().join("data").to_str().expect("UTF-8").to_owned();
    drop(serve(dir.path(), &[]).await);
    let project = create(&data, &["--sandbox"]);
    let (_process, url) = serve(dir.path(), &[("OTPD_DOORS__MOBILE__PROJECT", &project.id)]).await;
    let clock = Embedded::start().await.client().clock;
    let client = Client::new(vec![url], String::new(), project.clone(), clock);
    let tokens = log_in(&client).await;
    let access = tokens["accessToken"].as_str().expect("a token");
    let me = reply(client.http.get(client.url("/api/me")).bearer_auth(access)).await.expect(200);
    assert_eq!(me.body["project"], project.id);
}

#[tokio::test]
async fn a_door_that_is_bound_in_vain_is_told_to_the_operator() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let nobody = "PRJ_0198f3c2a1b47c0d8e5f112233445566";
    let (process, url) = serve(dir.path(), &[("OTPD_DOORS__LOGIN__PROJECT", nobody)]).await;
    let admin = process.logged("server.admin_listen").await;
    let problem = format!("doors.login answers 404: there is no project {nobody} (otpd project list)");
    eventually("a warning", || async { process.log_text().contains(&problem).then_some(()) }).await;
    let http = reqwest::Client::new();
    // Neither is said where the store takes its time.
    for (place, told) in
        [(format!("http://{admin}"), format!("degraded\n{problem}")), (url.clone(), "ready".to_owned())]
    {
        eventually("the state in words", || async {
            let ready = reply(http.get(format!("{place}/readyz"))).await;
            (ready.status == 200 && ready.body == told).then_some(())
        })
        .await;
    }
    reply(http.post(format!("{url}/api/send-otp")).json(&json!({}))).await.expect(404);
}
