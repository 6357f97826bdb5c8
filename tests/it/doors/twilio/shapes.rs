//! The replies name by name, and the document that describes them.

use serde_json::{Value, json};

use super::{Account, id_of, judged, names};
use crate::doors::rig::Rig;
use crate::harness::client::reply;

const ANN: &str = "+14155552671";
const VERIFICATION: [&str; 15] = [
    "account_sid",
    "amount",
    "channel",
    "date_created",
    "date_updated",
    "lookup",
    "payee",
    "send_code_attempts",
    "service_sid",
    "sid",
    "sna",
    "status",
    "to",
    "url",
    "valid",
];
const CHECK: [&str; 12] = [
    "account_sid",
    "amount",
    "channel",
    "date_created",
    "date_updated",
    "payee",
    "service_sid",
    "sid",
    "sna_attempts_error_codes",
    "status",
    "to",
    "valid",
];

/// Two letters and 32 hexadecimal digits.
fn is_sid(value: &Value, letters: &str) -> bool {
    let hex = value.as_str().and_then(|sid| sid.strip_prefix(letters));
    hex.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|digit| b"0123456789abcdef".contains(&digit)))
}

/// As the SDKs read them: whole seconds of UTC.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == "2026-01-01T00:00:00Z".len() && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

#[tokio::test]
async fn a_verification_is_shown_as_twilio_shows_it() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    for (to, channel, attempt) in [(ANN, "sms", "SMS"), ("ann@example.com", "email", "EMAIL")] {
        let shown = account.create(to, channel).await.expect(201).body;
        assert_eq!(names(&shown), VERIFICATION);
        assert!(
            is_sid(&shown["sid"], "VE") && is_sid(&shown["service_sid"], "VA") && is_sid(&shown["account_sid"], "AC")
        );
        assert_eq!((&shown["service_sid"], &shown["account_sid"]), (&json!(account.service), &json!(account.sid)));
        assert_eq!(
            (&shown["to"], &shown["channel"], &shown["status"]),
            (&json!(to), &json!(channel), &json!("pending"))
        );
        assert_eq!((&shown["valid"], &shown["lookup"]), (&json!(false), &json!({})));
        for nothing in ["amount", "payee", "sna"] {
            assert_eq!(shown[nothing], Value::Null);
        }
        assert!(is_time(&shown["date_created"]) && is_time(&shown["date_updated"]), "{shown}");
        let sends = shown["send_code_attempts"].as_array().expect("sends");
        assert_eq!((sends.len(), names(&sends[0])), (1, vec!["attempt_sid", "channel", "time"]));
        assert!(is_sid(&sends[0]["attempt_sid"], "VL") && is_time(&sends[0]["time"]), "{shown}");
        assert_eq!(sends[0]["channel"], attempt);
        assert_eq!(account.fetch(shown["sid"].as_str().expect("a sid")).await.expect(200).body, shown);
    }
}

#[tokio::test]
async fn a_check_is_shown_as_twilio_shows_it() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    let sid = account.send_to(ANN).await;
    let created = rig.client.record(&id_of(&sid)).await["createdAt"].clone();
    let code = rig.code(ANN).await;
    for (guess, status) in [("0000", "pending"), (code.as_str(), "approved")] {
        let reply = account.check(ANN, guess).await;
        judged(&reply, status);
        let shown = reply.body;
        assert_eq!(names(&shown), CHECK);
        assert_eq!((&shown["sid"], &shown["to"], &shown["channel"]), (&json!(sid), &json!(ANN), &json!("sms")));
        assert_eq!((&shown["service_sid"], &shown["account_sid"]), (&json!(account.service), &json!(account.sid)));
        assert_eq!((&shown["amount"], &shown["payee"]), (&Value::Null, &Value::Null));
        assert_eq!(shown["sna_attempts_error_codes"], json!([]));
        assert!(is_time(&shown["date_created"]) && is_time(&shown["date_updated"]), "{shown}");
        assert_eq!(shown["date_created"].as_str().map(|at| &at[..19]), created.as_str().map(|at| &at[..19]));
    }
}

#[tokio::test]
async fn the_url_is_where_the_caller_finds_it() {
    let rig = Rig::embedded(&[]).await;
    let account = Account::live(&rig);
    let url = account.create(ANN, "sms").await.expect(201).text("url").to_owned();
    assert!(url.starts_with(&rig.client.urls[0]), "{url}");
    let again = rig.client.http.get(&url).basic_auth(&account.sid, Some(&account.token));
    assert_eq!(reply(again).await.expect(200).text("url"), url);
    let elsewhere =
        account.request(reqwest::Method::GET, &format!("Verifications/{ANN}")).header("host", "otp.example.com:8443");
    assert!(reply(elsewhere).await.expect(200).text("url").starts_with("http://otp.example.com:8443/v2/Services/VA"));

    let rig = Rig::embedded(&[("OTPD_SERVER__PUBLIC_URL", "https://otp.example.com/verify/")]).await;
    let sent = Account::live(&rig).create(ANN, "sms").await.expect(201);
    assert!(sent.text("url").starts_with("https://otp.example.com/verify/v2/Services/VA"), "{}", sent.body);
}

#[tokio::test]
async fn the_document_has_the_same_names() {
    let rig = Rig::embedded(&[]).await;
    let document = reply(rig.client.http.get(rig.client.url("/openapi.json"))).await.expect(200).body;
    let schemas = &document["components"]["schemas"];
    let required = |name: &str| {
        let mut required: Vec<_> =
            schemas[name]["required"].as_array().expect(name).iter().filter_map(Value::as_str).collect();
        required.sort_unstable();
        required
    };
    assert_eq!(required("TwilioVerification"), VERIFICATION);
    assert_eq!(required("TwilioVerificationCheck"), CHECK);
    assert_eq!(required("TwilioError"), ["code", "message", "more_info", "status"]);
    let create = &document["paths"]["/v2/Services/{ServiceSid}/Verifications"]["post"];
    assert_eq!(names(&create["requestBody"]["content"]), ["application/x-www-form-urlencoded"]);
    assert_eq!(create["security"], json!([{ "basic": [] }]));
    let statuses = ["201", "400", "401", "403", "404", "408", "413", "415", "429", "500", "503"];
    assert_eq!(names(&create["responses"]), statuses);
}
