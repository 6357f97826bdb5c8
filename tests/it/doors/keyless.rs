//! What the keyless doors have in common: whose they are, and what each of them sees.

use serde_json::{Value, json};

use super::login::serve;
use super::rig::{Rig, check, number, rigged};
use crate::harness::Embedded;
use crate::harness::client::reply;

rigged!(no_door_sees_what_another_has_opened, a_server_id_opens_no_door, each_door_acts_for_its_own_project);

/// Each door's send and verify.
fn calls(number: &str, code: &str) -> [(&'static str, Value, &'static str, Value); 3] {
    [
        (
            "/api/send-otp",
            json!({ "phoneNumber": number }),
            "/api/verify-otp",
            json!({ "phoneNumber": number, "otp": code }),
        ),
        (
            "/api/auth/send-otp",
            json!({ "phone": number }),
            "/api/auth/verify-otp",
            json!({ "phone": number, "otp": code }),
        ),
        ("/auth/mobile", json!({ "mobile": number }), "/auth/code", json!({ "mobile": number, "code": code })),
    ]
}

async fn no_door_sees_what_another_has_opened(rig: Rig) {
    for nth in 0..3 {
        let number = number(nth);
        let (path, body, ..) = calls(&number, "").into_iter().nth(nth).expect("a door");
        rig.post(path, &body).await.expect(200);
        let code = rig.code(&number).await;
        for (other, (_, _, path, body)) in calls(&number, &code).into_iter().enumerate() {
            if other != nth {
                let refused = rig.post(path, &body).await;
                assert!([400, 401].contains(&refused.status), "{path}: {}", refused.body);
            }
        }
        let by_v1 = rig.client.verify(&number, &code).await.expect(200).body;
        assert_eq!(by_v1["reason"], "No verification found");
        let (_, _, path, body) = calls(&number, &code).into_iter().nth(nth).expect("a door");
        rig.post(path, &body).await.expect(200);
    }
    let body = json!({ "target": number(9), "channel": "sms" });
    rig.client.send(&body).await.expect(202);
    let code = rig.code(&number(9)).await;
    for (_, _, path, body) in calls(&number(9), &code) {
        let refused = rig.post(path, &body).await;
        assert!([400, 401].contains(&refused.status), "{path}: {}", refused.body);
    }
    assert_eq!(rig.client.verify(&number(9), &code).await.body["valid"], true);
}

async fn a_server_id_opens_no_door(rig: Rig) {
    let code = rig.logging_in(&number(1)).await;
    let list = rig.client.get("/api/v1/otp/records").await.expect(200).body;
    let id = list["records"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(list["records"][0]["recordId"], "door:login");
    let guess = json!({ "target": number(1), "code": code, "recordId": id });
    let answer = rig.client.post("/api/v1/otp/verify", &guess).await.expect(200).body;
    assert_eq!(answer["reason"], "No verification found");
    rig.client.post("/api/v1/otp/cancel", &json!({ "recordId": id })).await.expect(404);
    for (path, body) in [
        ("send", json!({ "target": number(1), "channel": "sms", "recordId": "door:login" })),
        ("verify", json!({ "target": number(1), "code": code, "recordId": "door:login" })),
        ("cancel", json!({ "recordId": "door:login" })),
    ] {
        let refused = rig.client.post(&format!("/api/v1/otp/{path}"), &body).await.expect(400).body;
        assert_eq!(refused["message"], "recordId must not begin with \"door:\"");
    }
    rig.log_in(&number(1), &code).await.expect(200);
}

async fn each_door_acts_for_its_own_project(rig: Rig) {
    let stranger = rig.client.of(&rig.project(&[]));
    rig.logging_in(&number(1)).await;
    let list = rig.client.get("/api/v1/otp/records").await.expect(200).body;
    assert_eq!(list["pagination"]["total"], 1);
    let list = stranger.live().get("/api/v1/otp/records").await.expect(200).body;
    assert_eq!(list["pagination"]["total"], 0);
}

/// Paths of the keyless doors, and how each says that it is closed.
fn closed() -> Vec<(&'static str, Value)> {
    let message = "This door is not bound to a project";
    let (plain, mobile) = (json!({ "message": message }), json!({ "statusCode": 404, "message": message }));
    [
        ("/api/send-otp", &plain),
        ("/api/verify-otp", &plain),
        ("/api/auth/send-otp", &plain),
        ("/api/auth/verify-otp", &plain),
    ]
    .into_iter()
    .chain([("/auth/mobile", &mobile), ("/auth/code", &mobile), ("/auth/refresh-token", &mobile)])
    .map(|(path, body)| (path, body.clone()))
    .collect()
}

#[tokio::test]
async fn a_door_without_a_project_is_closed_in_production() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let (_process, url) = serve(dir.path(), &[]).await;
    let http = Embedded::start().await.client().http;
    for (path, expected) in closed() {
        for body in ["{}", "nonsense", ""] {
            let request = http.post(format!("{url}{path}")).header("content-type", "application/json").body(body);
            check(&reply(request).await, 404, &expected);
        }
        check(&reply(http.get(format!("{url}{path}"))).await, 404, &expected);
    }
    let me = reply(http.get(format!("{url}/api/me"))).await;
    check(&me, 404, &json!({ "message": "This door is not bound to a project" }));
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn a_door_is_closed_unless_it_is_bound() {
    use crate::harness::Distributed;
    use crate::harness::stub::{Answer, Stub};
    let stub = Stub::start(Answer::AT_ONCE);
    let mut otpd = Distributed::prepare(&stub.settings()).await;
    otpd.environment.insert("OTPD_DOORS__1PORT__PROJECT".to_owned(), otpd.client().project.id);
    otpd.add_api().await;
    let client = otpd.client();
    for (path, expected) in closed() {
        let answer = reply(client.http.post(client.url(path)).json(&json!({}))).await;
        if path.starts_with("/api/auth/") {
            assert_eq!(answer.status, 400, "{path}");
        } else {
            check(&answer, 404, &expected);
        }
    }
}

#[tokio::test]
async fn a_project_that_is_not_there_opens_no_door() {
    let nobody = "PRJ_00000000000000000000000000000000";
    let rig = Rig::embedded(&[("OTPD_DOORS__LOGIN__PROJECT", nobody)]).await;
    let answer = rig.post("/api/send-otp", &json!({ "phoneNumber": number(1) })).await;
    check(&answer, 404, &json!({ "message": "This door is not bound to a project" }));
}

#[tokio::test]
async fn a_default_region_reads_national_numbers() {
    let rig = Rig::embedded(&[("OTPD_DOORS__LOGIN__DEFAULT_REGION", "US")]).await;
    rig.post("/api/send-otp", &json!({ "phoneNumber": "(415) 555-2671" })).await.expect(200);
    let code = rig.code("+14155552671").await;
    // Of another country in international form.
    rig.post("/api/send-otp", &json!({ "phoneNumber": "+998901234567" })).await.expect(200);
    rig.log_in("415-555-2671", &code).await.expect(200);
    let elsewhere = rig.post("/api/auth/send-otp", &json!({ "phone": "(415) 555-2671" })).await;
    check(&elsewhere, 400, &json!({ "message": "Phone number is invalid" }));
}
