//! Whatever is refused, in Twilio's shape and with a code that its SDKs show.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{Account, judged, refused};
use crate::doors::rig::{Rig, number, other_than};
use crate::harness::client::{Project, reply};
use crate::harness::eventually;

const ANN: &str = "+14155552671";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn wrong_credentials_get_one_answer() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    let revoked = Account::live(&rig);
    rig.cli(&["key", "revoke", &revoked.sid]);
    let (good, other) = (&account.sid, Account::live(&rig));
    let (id, key) = (&rig.client.project.id, &rig.client.project.live_key);
    let bearer =
        |request: reqwest::RequestBuilder| request.bearer_auth(key).header("x-api-key", key).header("x-project-id", id);
    let url = rig.client.url(&format!("/v2/Services/{}/Verifications", account.service));
    let post = || rig.client.http.post(&url).form(&[("To", "nonsense")]);
    let pairs = [
        (good.as_str(), other.token.as_str()),
        (good, ""),
        (good, "1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b"),
        ("", ""),
        (&account.token, good),
        (id, key),
        ("AC\u{0}", "x"),
        (&revoked.sid, &revoked.token),
    ];
    let tried = pairs.map(|(sid, token)| post().basic_auth(sid, Some(token)));
    let strange =
        ["Basic", "Basic =", "Basic //////8=", "Digest x"].map(|header| post().header("authorization", header));
    for request in tried.into_iter().chain(strange).chain([post(), bearer(post())]) {
        let reply = reply(request).await;
        refused(&reply, 401, 20003);
        assert_eq!(
            (reply.text("message"), reply.header("www-authenticate")),
            ("Authenticate", Some("Basic realm=\"otpd\""))
        );
    }
}

/// Forms, and the parameter of each that is not as it must be.
type Forms<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)])];

async fn each_is_named(account: &Account<'_>, path: &str, forms: Forms<'_>) {
    for (name, form) in forms {
        let reply = account.post(path, form).await;
        refused(&reply, 400, 60200);
        let words = reply.text("message");
        assert!(words.starts_with(&format!("Invalid parameter `{name}`: ")), "{form:?}: {words}");
        assert!(!words.contains("415"), "a number is not repeated: {words}");
    }
}

#[tokio::test]
async fn every_parameter_of_a_send_that_is_wrong_is_named() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::of(&rig, &rig.client.project, &["--own-codes"]);
    let long = "4".repeat(5000);
    let forms: Forms<'_> = &[
        ("To", &[("Channel", "sms")]),
        ("To", &[("To", ""), ("Channel", "sms")]),
        ("To", &[("To", "14155552671"), ("Channel", "sms")]),
        ("To", &[("To", "+1415"), ("Channel", "sms")]),
        ("To", &[("To", "+12015550000000"), ("Channel", "sms")]),
        ("To", &[("To", &long), ("Channel", "sms")]),
        ("To", &[("To", &long), ("Channel", "email")]),
        ("To", &[("To", "+1415\u{0}5552671"), ("Channel", "sms")]),
        ("To", &[("To", "ann@example.com\u{0}"), ("Channel", "email")]),
        ("To", &[("To", "ann@example.com"), ("Channel", "sms")]),
        ("To", &[("To", ANN), ("Channel", "email")]),
        ("To", &[("To", ANN), ("To", "nonsense"), ("Channel", "sms")]),
        ("Channel", &[("To", ANN)]),
        ("Channel", &[("To", ANN), ("Channel", "call")]),
        ("Channel", &[("To", ANN), ("Channel", "sna")]),
        ("Channel", &[("To", ANN), ("Channel", "auto")]),
        ("Channel", &[("To", ANN), ("Channel", "rcs")]),
        ("Channel", &[("To", ANN), ("Channel", "SMS")]),
        ("Channel", &[("To", ANN), ("Channel", "sms\u{0}")]),
        ("Locale", &[("To", ANN), ("Channel", "sms"), ("Locale", "no tag")]),
        ("Locale", &[("To", ANN), ("Channel", "sms"), ("Locale", &long)]),
        ("DeviceIp", &[("To", ANN), ("Channel", "sms"), ("DeviceIp", "nowhere")]),
        ("CustomCode", &[("To", ANN), ("Channel", "sms"), ("CustomCode", "12\u{0}45")]),
    ];
    each_is_named(&account, "Verifications", forms).await;
    assert_eq!(rig.client.get("/api/v1/otp/records").await.body["records"], json!([]));
}

#[tokio::test]
async fn every_parameter_of_a_check_or_an_update_that_is_wrong_is_named() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    let long = "4".repeat(5000);
    let sid = "VE01a1fc4374547c23bc665ebbba214844";
    let checks: Forms<'_> = &[
        ("Code", &[("To", ANN)]),
        ("Code", &[("To", ANN), ("Code", "12")]),
        ("Code", &[("To", ANN), ("Code", "12345a")]),
        ("Code", &[("To", ANN), ("Code", "123\u{0}456")]),
        ("Code", &[("To", ANN), ("Code", &long)]),
        ("To", &[("Code", "123456")]),
        ("To", &[("Code", "123456"), ("To", "nonsense")]),
        ("To", &[("Code", "123456"), ("To", "nonsense"), ("VerificationSid", sid)]),
        ("VerificationSid", &[("Code", "123456"), ("VerificationSid", "VE1")]),
        ("VerificationSid", &[("Code", "123456"), ("VerificationSid", ANN)]),
    ];
    each_is_named(&account, "VerificationCheck", checks).await;
    let updates: Forms<'_> = &[
        ("Status", &[("Sid", sid)]),
        ("Status", &[("Status", "")]),
        ("Status", &[("Status", "pending")]),
        ("Status", &[("Status", "approved\u{0}")]),
    ];
    each_is_named(&account, &format!("Verifications/{sid}"), updates).await;
}

#[tokio::test]
async fn whatever_is_thrown_at_it_is_the_callers_fault() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    let bodies: &[&[u8]] = &[
        b"To=%ff%fe&Channel=sms",
        b"To=%+%4&Channel=%",
        b"To[]=+1&Channel[$ne]=sms",
        b"&&&===&",
        b"\xff\xfe\0",
        b"{\"To\":\"+14155552671\",\"Channel\":\"sms\"}",
        b"To=%2B14155552671&Channel=sms&Channel=call",
        b"Code=%ff&To=%2B14155552671",
        b"Status=%00&Code=%00&To=%00&VerificationSid=%00&Channel=%00",
    ];
    for path in
        ["Verifications", "VerificationCheck", "Verifications/+14155552671", "Verifications/%00", "Verifications/a%2Fb"]
    {
        for body in bodies {
            let request = account.request(Method::POST, path).header("content-type", FORM).body(body.to_vec());
            let reply = reply(request).await;
            refused(&reply, 400, 60200);
        }
    }
    for path in [
        "Verifications/%ff",
        "Verifications/%c3%28",
        "Verifications/%00",
        "Verifications/%E2%80%AE+1",
        "Verifications/%",
    ] {
        let posted = account.post(path, &[("Status", "canceled")]).await;
        refused(&posted, 404, 20404);
        refused(&account.fetch(path.trim_start_matches("Verifications/")).await, 404, 20404);
    }
    let long = format!("Verifications/{}", "4".repeat(10_000));
    refused(&reply(account.request(Method::GET, &long)).await, 404, 20404);
}

#[tokio::test]
async fn bodies_routes_and_methods_are_refused_in_the_same_shape() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    let post = |account: &Account<'_>| account.request(Method::POST, "Verifications");
    let stranger = Account { token: String::new(), ..Account::live(&rig) };
    let large = format!("To={}", "4".repeat(16 * 1024));
    // In this order: size, type, whether there is one, who asks.
    for caller in [&account, &stranger] {
        refused(&reply(post(caller).header("content-type", "text/plain").body(large.clone())).await, 413, 20413);
        refused(&reply(post(caller).json(&json!({ "To": ANN, "Channel": "sms" }))).await, 415, 20415);
        refused(&reply(post(caller).body("To=1")).await, 415, 20415);
        refused(&reply(post(caller).header("content-type", FORM)).await, 400, 60200);
        refused(&reply(caller.request(Method::PUT, "Verifications").form(&[("To", ANN)])).await, 405, 20004);
        refused(&reply(caller.request(Method::DELETE, &format!("Verifications/{ANN}"))).await, 405, 20004);
        for elsewhere in ["", "RateLimits", "Verifications/", "Verifications/+1/x", "Webhooks/YW1"] {
            refused(&reply(caller.request(Method::GET, elsewhere)).await, 404, 20404);
        }
    }
    for service in ["VA1", &account.service.replace("VA", "va"), &stranger.sid] {
        let elsewhere = Account { service: service.to_owned(), ..Account::live(&rig) };
        refused(&elsewhere.create("nonsense", "sms").await, 404, 20404);
    }
    let charset = post(&account).header("content-type", format!("{FORM}; charset=UTF-8"));
    reply(charset.body("To=ann%40example.com&Channel=email")).await.expect(201);
}

#[tokio::test]
async fn limits_say_when_to_come_back() {
    let rig = Rig::embedded(&[]).await;
    let project = rig.project(&["--cooldown", "1", "--per-hour", "3"]);
    let account = Account::of(&rig, &project, &[]);
    rig.client.hold_time().await;
    let from =
        |to: &str| [("To", to.to_owned()), ("Channel", "sms".to_owned()), ("DeviceIp", "2001:db8::1".to_owned())];
    for nth in 0..20 {
        reply(account.request(Method::POST, "Verifications").form(&from(&number(nth)))).await.expect(201);
    }
    refused(&reply(account.request(Method::POST, "Verifications").form(&from(&number(20)))).await, 429, 20429);
    for _ in 0..2 {
        rig.client.clock.advance(Duration::from_secs(2));
        account.create(&number(0), "sms").await.expect(201);
    }
    rig.client.clock.advance(Duration::from_secs(2));
    refused(&account.create(&number(0), "sms").await, 429, 60203);
}

#[tokio::test]
async fn a_target_bears_twenty_five_wrong_codes_an_hour() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::of(&rig, &rig.project(&["--cooldown", "1", "--guesses", "10"]), &[]);
    for (sends, guesses) in [(1, 9), (2, 9), (3, 7)] {
        rig.client.clock.advance(Duration::from_secs(2));
        account.send_to(ANN).await;
        let code = rig.codes(ANN, sends).await.pop().expect("a code");
        for _ in 0..guesses {
            judged(&account.check(ANN, &other_than(&code)).await, "pending");
        }
        if sends < 3 {
            account.update(ANN, "canceled").await.expect(200);
        } else {
            refused(&account.check(ANN, &code).await, 429, 20429);
        }
    }
}

#[tokio::test]
async fn a_project_may_send_no_more_or_not_there_or_not_by_that() {
    let rig = Rig::embedded(&[]).await;
    let made = rig.cli(&["project", "create", "Poor", "--tokens", "1"]);
    let text = |name: &str| made[name].as_str().expect(name).to_owned();
    let poor = Project { id: text("project_id"), live_key: text("live_key"), sandbox_key: text("sandbox_key") };
    let poor = Account::of(&rig, &poor, &[]);
    poor.create(ANN, "sms").await.expect(201);
    let broke = poor.create(&number(1), "sms").await;
    refused(&broke, 400, 20005);

    let account = Account::live(&rig);
    refused(&account.create(ANN, "whatsapp").await, 503, 20503);
    rig.update(&["--countries", "UZ"]);
    eventually("the other countries are refused", || async {
        let reply = account.create(ANN, "sms").await;
        (reply.status != 201 && reply.status != 429).then(|| refused(&reply, 403, 60605))
    })
    .await;
    account.create("+998901234567", "sms").await.expect(201);
}

#[tokio::test]
async fn nothing_is_logged_that_a_thief_would_like() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    let sid = account.send_to(ANN).await;
    let code = rig.code(ANN).await;
    account.fetch(ANN).await.expect(200);
    refused(&account.fetch("+14155552672").await, 404, 20404);
    judged(&account.check(ANN, &other_than(&code)).await, "pending");
    judged(&account.check_sid(&sid, &code).await, "approved");
    refused(&account.create("ann@nowhere", "sms").await, 400, 60200);
    let log = rig.log_with("/v2/Services/{ServiceSid}/Verifications/{Sid}").await;
    for secret in [code.as_str(), "4155552671", "4155552672", "nowhere", &account.token] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
