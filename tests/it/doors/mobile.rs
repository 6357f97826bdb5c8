//! The mobile door: numbers as people of a country write them, tokens that renew themselves, test numbers.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{BEHIND_A_PROXY, KEYLESS, Rig, check, claims, other_than, rigged};
use crate::harness::client::{Project, reply};
use crate::harness::process::run;
use crate::harness::stub::{Answer, Stub};
use crate::harness::{Embedded, Reply, eventually};

rigged!(
    a_number_and_its_code_are_tokens_and_a_user,
    tokens_renew_themselves_and_a_spent_one_ends_them,
    bad_numbers_and_bad_codes_are_told_apart,
    one_address_sends_once_a_minute,
    the_project_says_how_long_a_code_is,
    a_live_project_has_no_test_numbers,
);

const MOBILE: &str = "09123456789";
const NUMBER: &str = "+989123456789";

fn told(status: u16, message: &str) -> Value {
    json!({ "statusCode": status, "message": message })
}

async fn send(rig: &Rig, mobile: &str) -> Reply {
    rig.post("/auth/mobile", &json!({ "mobile": mobile })).await
}

async fn verify(rig: &Rig, mobile: &str, code: &str) -> Reply {
    rig.post("/auth/code", &json!({ "mobile": mobile, "code": code })).await
}

async fn renew(rig: &Rig, token: &str) -> Reply {
    rig.post("/auth/refresh-token", &json!({ "refreshToken": token })).await
}

/// Sends and verifies; the reply's `data`.
async fn signed_in(rig: &Rig, mobile: &str) -> Value {
    let before = rig.stub.arrivals().len();
    check(&send(rig, mobile).await, 200, &json!({ "message": "OTP code has been sent to mobile" }));
    let code = rig.stub.reached(before + 1).await.pop().expect("a message").code;
    verify(rig, mobile, &code).await.expect(200).body["data"].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

async fn a_number_and_its_code_are_tokens_and_a_user(rig: Rig) {
    check(&send(&rig, MOBILE).await, 200, &json!({ "message": "OTP code has been sent to mobile" }));
    let code = rig.code(NUMBER).await;
    let right = verify(&rig, MOBILE, &code).await.expect(200).body;
    let (tokens, id) = (&right["data"]["tokens"], &right["data"]["user"]["id"]);
    let access = text(&tokens["accessToken"]);
    let expected = json!({
        "data": {
            "tokens": { "accessToken": access, "refreshToken": text(&tokens["refreshToken"]) },
            "user": { "id": text(id), "mobile": MOBILE, "name": null, "email": null, "status": 1 },
            "permissions": ["READ", "WRITE"],
        },
        "message": "OTP successfully validated",
    });
    assert_eq!(right, expected);
    assert_eq!((&claims(access)["sub"], &claims(access)["aud"]), (id, &json!(rig.client.project.id)));
    assert_eq!(rig.me(access).await.expect(200).body["id"], *id);
    check(&verify(&rig, MOBILE, &code).await, 400, &told(400, "Invalid OTP"));

    rig.client.clock.advance(Duration::from_secs(61));
    let again = signed_in(&rig, "+98 912 345 6789").await;
    assert_eq!((&again["user"]["id"], &again["user"]["mobile"]), (id, &json!("+98 912 345 6789")));
}

async fn tokens_renew_themselves_and_a_spent_one_ends_them(rig: Rig) {
    let first = signed_in(&rig, MOBILE).await["tokens"].clone();
    rig.client.clock.advance(Duration::from_secs(1));
    let renewed = renew(&rig, text(&first["refreshToken"])).await.expect(200).body;
    let second = renewed["data"]["tokens"].clone();
    let (access, refresh) = (text(&second["accessToken"]), text(&second["refreshToken"]));
    let expected = json!({
        "data": { "tokens": { "accessToken": access, "refreshToken": refresh } },
        "message": "Tokens renewed successfully",
    });
    assert_eq!(renewed, expected);
    assert_ne!((access, refresh), (text(&first["accessToken"]), text(&first["refreshToken"])));
    rig.me(access).await.expect(200);

    let refused = told(401, "Invalid refresh token");
    check(&renew(&rig, text(&first["refreshToken"])).await, 401, &refused);
    check(&renew(&rig, refresh).await, 401, &refused);
    rig.me(access).await.expect(401);
    for bad in ["nonsense", access, "otpd_refresh_AAAA"] {
        check(&renew(&rig, bad).await, 401, &refused);
    }
    let third = signed_in(&rig, "09123456780").await["tokens"].clone();
    rig.client.clock.advance(Duration::from_secs(30 * 24 * 3600 + 60));
    check(&renew(&rig, text(&third["refreshToken"])).await, 401, &refused);
    for (body, named) in
        [(json!({}), "refreshToken is required"), (json!({ "refreshToken": 5 }), "refreshToken must be a string")]
    {
        check(&rig.post("/auth/refresh-token", &body).await, 400, &told(400, named));
    }
}

async fn bad_numbers_and_bad_codes_are_told_apart(rig: Rig) {
    let bad_mobile = told(400, "Please insert valid mobile");
    for mobile in [json!(null), json!(""), json!("0912"), json!("nonsense"), json!([MOBILE]), json!("09\u{0}123456789")]
    {
        let body = json!({ "mobile": mobile, "code": "123456" });
        check(&rig.post("/auth/mobile", &body).await, 400, &bad_mobile);
        if mobile != "0912" {
            check(&rig.post("/auth/code", &body).await, 400, &bad_mobile);
        }
    }
    check(&verify(&rig, MOBILE, "123456").await, 400, &told(400, "Invalid OTP"));
    send(&rig, MOBILE).await.expect(200);
    let code = rig.code(NUMBER).await;
    for bad in [json!(null), json!("12345a"), json!([code]), json!(other_than(&code))] {
        let body = json!({ "mobile": MOBILE, "code": bad });
        check(&rig.post("/auth/code", &body).await, 400, &told(400, "Invalid OTP"));
    }
    rig.client.clock.advance(Duration::from_secs(301));
    check(&verify(&rig, MOBILE, &code).await, 400, &told(400, "OTP expired"));

    send(&rig, MOBILE).await.expect(200);
    let code = rig.codes(NUMBER, 2).await.pop().expect("a code");
    for _ in 0..5 {
        check(&verify(&rig, MOBILE, &other_than(&code)).await, 400, &told(400, "Invalid OTP"));
    }
    check(&verify(&rig, MOBILE, &code).await, 400, &told(400, "Invalid OTP"));
}

async fn one_address_sends_once_a_minute(rig: Rig) {
    rig.client.hold_time().await;
    let from = |address: &'static str, mobile: &str| {
        let body = json!({ "mobile": mobile });
        let rig = &rig;
        async move { rig.post_from(address, "/auth/mobile", &body).await }
    };
    from("198.51.100.1", "nonsense").await.expect(400);
    from("198.51.100.1", MOBILE).await.expect(200);
    let early = from("198.51.100.1", "09123456780").await;
    check(&early, 429, &told(429, "Too Many Requests"));
    let wait: u64 = early.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((31..=60).contains(&wait), "{wait}");
    from("198.51.100.2", "09123456780").await.expect(200);
    let elsewhere = json!({ "phoneNumber": "+14155552671" });
    rig.post_from("198.51.100.1", "/api/send-otp", &elsewhere).await.expect(200);
    rig.client.clock.advance(Duration::from_secs(60));
    from("198.51.100.1", "09123456781").await.expect(200);
}

async fn the_project_says_how_long_a_code_is(rig: Rig) {
    rig.update(&["--code-length", "4"]);
    let mut nth = 0;
    let code = eventually("a code of four digits", || {
        nth += 1;
        let (rig, number) = (&rig, format!("91234{nth:05}"));
        async move {
            send(rig, &format!("0{number}")).await.expect(200);
            Some(rig.code(&format!("+98{number}")).await).filter(|code| code.len() == 4).map(|code| (number, code))
        }
    })
    .await;
    verify(&rig, &format!("0{}", code.0), &code.1).await.expect(200);
}

async fn a_live_project_has_no_test_numbers(rig: Rig) {
    let arguments = ["project", "update", &rig.client.project.id, "--test-number", "+989123456789=4444@2099-12-31"];
    let (code, log) = rig.refused(&arguments);
    assert!(code == 2 && log.contains("only a sandbox project"), "{code} {log}");
    check(&send(&rig, MOBILE).await, 200, &json!({ "message": "OTP code has been sent to mobile" }));
}

/// A program whose doors stand before a sandbox project with a test number.
async fn trial() -> (Embedded, Stub, Project) {
    let stub = Stub::start(Answer::AT_ONCE);
    let settings = [stub.settings(), vec![BEHIND_A_PROXY]].concat();
    let mut otpd = Embedded::start_with(&settings).await;
    let data = otpd.data();
    let create = [
        "project",
        "create",
        "Trial",
        "--sandbox",
        "--unlimited",
        "--json",
        "--data",
        &data,
        "--test-number",
        "+989123456789=4444@2099-12-31",
    ];
    let (code, made, log) = run(&create, &otpd.environment);
    assert_eq!(code, 0, "{log}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let made = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let project = Project { id: made("project_id"), live_key: String::new(), sandbox_key: made("sandbox_key") };
    for door in KEYLESS {
        otpd.environment.insert(format!("OTPD_DOORS__{door}__PROJECT"), project.id.clone());
    }
    otpd.restart();
    (otpd, stub, project)
}

#[tokio::test]
async fn a_test_number_of_a_sandbox_project_is_told_its_code() {
    let (otpd, stub, project) = trial().await;
    let client = otpd.client().of(&project);
    let post = |address: &str, path: &str, body: Value| {
        reply(client.http.post(client.url(path)).header("x-forwarded-for", address).json(&body))
    };
    let sent = post("192.0.2.1", "/auth/mobile", json!({ "mobile": MOBILE })).await;
    check(&sent, 200, &json!({ "message": "OTP code has been sent to mobile", "tempOtp": "4444" }));
    let sent = post("192.0.2.2", "/auth/mobile", json!({ "mobile": "09123456780" })).await;
    check(&sent, 200, &json!({ "message": "OTP code has been sent to mobile" }));
    let right = post("192.0.2.3", "/auth/code", json!({ "mobile": MOBILE, "code": "4444" })).await.expect(200).body;
    let access = text(&right["data"]["tokens"]["accessToken"]).to_owned();
    assert_eq!(claims(&access)["aud"], format!("sandbox:{}", project.id));
    reply(client.http.get(client.url("/api/me")).bearer_auth(&access)).await.expect(200);
    let code = client.code("+989123456780").await;
    post("192.0.2.3", "/auth/code", json!({ "mobile": "09123456780", "code": code })).await.expect(200);
    assert!(stub.arrivals().is_empty(), "a sandbox project sends nothing for real");
}

#[tokio::test]
async fn tokens_of_a_sandbox_project_open_nothing_of_others() {
    let (mut otpd, _stub, project) = trial().await;
    let client = otpd.client().of(&project);
    let post = |path: &str, body: Value| reply(client.http.post(client.url(path)).json(&body));
    post("/auth/mobile", json!({ "mobile": MOBILE })).await.expect(200);
    let right = post("/auth/code", json!({ "mobile": MOBILE, "code": "4444" })).await.expect(200).body;
    let tokens = &right["data"]["tokens"];
    for door in KEYLESS {
        otpd.environment.remove(&format!("OTPD_DOORS__{door}__PROJECT"));
    }
    otpd.restart();
    let live = otpd.client();
    let me = reply(live.http.get(live.url("/api/me")).bearer_auth(text(&tokens["accessToken"]))).await;
    check(&me, 401, &json!({ "message": "Invalid credentials" }));
    let refresh = json!({ "refreshToken": tokens["refreshToken"] });
    let renewed = reply(live.http.post(live.url("/auth/refresh-token")).json(&refresh)).await;
    check(&renewed, 401, &told(401, "Invalid refresh token"));
}
