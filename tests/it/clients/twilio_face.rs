//! Twilio's own SDKs at the Twilio door, pointed at otpd as docs/integrations/twilio.md says.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{credentials, node, python};
use crate::harness::{Client, Embedded, eventually};

const ANN: &str = "+14155552671";

/// A program that calls through an SDK.
struct Sdk {
    child: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What `otpd key create --twilio` gives.
struct Pair {
    sid: String,
    token: String,
    service: String,
}

impl Pair {
    fn create(otpd: &Embedded) -> Self {
        let made = credentials(otpd, &otpd.client().project.id, &["--twilio"]);
        let text = |name: &str| made[name].as_str().expect(name).to_owned();
        Self { sid: text("account_sid"), token: text("auth_token"), service: text("service_sid") }
    }
}

impl Sdk {
    /// The SDKs for Python and for Node, with the same credentials.
    fn both(client: &Client, pair: &Pair) -> [Self; 2] {
        [python("twilio_verify.py"), node("twilio_verify.mjs")].map(|command| Self::start(command, client, pair))
    }

    fn start(mut command: Command, client: &Client, pair: &Pair) -> Self {
        command.args([&client.urls[0], &pair.sid, &pair.token, &pair.service]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let (calls, answers) = (child.stdin.take().expect("stdin"), child.stdout.take().expect("stdout"));
        Self { child, calls, answers: BufReader::new(answers) }
    }

    fn call(&mut self, what: &str, fields: &Value) -> Value {
        writeln!(self.calls, "{}", json!([what, fields])).expect("it reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{what} {fields}: {answer:?}"))
    }

    fn create(&mut self, to: &str, channel: &str) -> Value {
        self.call("create", &json!({ "to": to, "channel": channel }))
    }

    fn fetch(&mut self, named: &str) -> Value {
        self.call("fetch", &json!({ "sid": named }))
    }

    fn check(&mut self, to: &str, code: &str) -> Value {
        self.call("check", &json!({ "to": to, "code": code }))
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The codes that went to the inbox for a target, once there are so many.
async fn codes(client: &Client, target: &str, count: usize) -> Vec<String> {
    eventually(&format!("{count} messages to {target}"), || async {
        let messages = client.messages(target).await;
        let codes = messages.iter().map(|message| message["code"].as_str().expect("a code").to_owned());
        (messages.len() >= count).then(|| codes.collect())
    })
    .await
}

#[track_caller]
fn refused(answer: &Value, status: u16, code: u32, words: &str) {
    let (told, error) = (answer["error"][2].as_str().unwrap_or_default(), &answer["error"]);
    assert_eq!((&error[0], &error[1]), (&json!(status), &json!(code)), "{answer}");
    assert!(told.contains(words), "{answer}");
}

#[tokio::test]
async fn a_code_is_sent_sent_again_and_checked() {
    let otpd = Embedded::start().await;
    let (client, pair) = (otpd.client(), Pair::create(&otpd));
    for (mut sdk, (to, channel)) in
        Sdk::both(&client, &pair).into_iter().zip([(ANN, "sms"), ("Ann@example.com", "email")])
    {
        let first = sdk.create(to, channel);
        let sid = first["sid"].as_str().expect("a sid");
        let url = format!("{}/v2/Services/{}/Verifications/{sid}", client.urls[0], pair.service);
        let spelled = if channel == "sms" { "SMS" } else { "EMAIL" };
        let mut expected = json!({
            "sid": sid, "service_sid": pair.service, "account_sid": pair.sid, "to": to, "channel": channel,
            "status": "pending", "valid": false, "created": first["created"], "sends": [spelled], "url": url,
        });
        assert_eq!(first, expected);
        refused(&sdk.create(to, channel), 429, 60203, "Max send attempts reached");
        client.clock.advance(Duration::from_secs(31));
        expected["sends"] = json!([spelled, spelled]);
        assert_eq!(sdk.create(to, channel), expected);
        for name in [sid, to] {
            assert_eq!(sdk.fetch(name), expected);
        }
        let codes = codes(&client, to, 2).await;
        assert_eq!(codes[0], codes[1]);
        let wrong = if codes[0] == "000000" { "111111" } else { "000000" };
        expected.as_object_mut().expect("an object").retain(|name, _| name != "sends" && name != "url");
        assert_eq!(sdk.check(to, wrong), expected);
        (expected["status"], expected["valid"]) = (json!("approved"), json!(true));
        assert_eq!(sdk.call("check", &json!({ "sid": sid, "code": codes[0] })), expected);
        refused(&sdk.check(to, &codes[0]), 404, 20404, "was not found");
        refused(&sdk.fetch(sid), 404, 20404, "was not found");
    }
}

#[tokio::test]
async fn one_is_canceled_one_approved_and_one_expires() {
    let otpd = Embedded::start().await;
    let (client, pair) = (otpd.client(), Pair::create(&otpd));
    for mut sdk in Sdk::both(&client, &pair) {
        for (named_by_sid, status) in [(true, "canceled"), (false, "approved")] {
            client.clock.advance(Duration::from_secs(3600));
            let pending = sdk.create(ANN, "sms");
            let name = if named_by_sid { pending["sid"].as_str().expect("a sid") } else { ANN };
            let closed = sdk.call("update", &json!({ "sid": name, "status": status }));
            assert_eq!((&closed["sid"], &closed["status"]), (&pending["sid"], &json!(status)));
            refused(&sdk.fetch(name), 404, 20404, "was not found");
        }
        client.clock.advance(Duration::from_secs(3600));
        sdk.create(ANN, "sms");
        let code = client.code(ANN).await;
        client.clock.advance(Duration::from_secs(601));
        refused(&sdk.check(ANN, &code), 404, 20404, "was not found");
        refused(&sdk.fetch(ANN), 404, 20404, "was not found");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_an_exception_with_twilios_code() {
    let otpd = Embedded::start().await;
    let (client, pair) = (otpd.client(), Pair::create(&otpd));
    for (mut sdk, to) in Sdk::both(&client, &pair).into_iter().zip([ANN, "+14155552672"]) {
        let sid = sdk.create(to, "sms")["sid"].as_str().expect("a sid").to_owned();
        let code = client.code(to).await;
        let wrong = if code == "000000" { "111111" } else { "000000" };
        for _ in 0..5 {
            assert_eq!(sdk.check(to, wrong)["status"], "pending");
        }
        refused(&sdk.check(to, &code), 429, 60202, "Max check attempts reached");
        assert_eq!(sdk.fetch(&sid)["status"], "max_attempts_reached");
        refused(&sdk.create("nonsense", "sms"), 400, 60200, "Invalid parameter `To`: ");
        refused(&sdk.create(to, "call"), 400, 60200, "Invalid parameter `Channel`: ");
        refused(&sdk.fetch("+14155552673"), 404, 20404, "was not found");
    }
    for pair in
        [Pair { token: "1b".repeat(16), ..Pair::create(&otpd) }, Pair { sid: format!("AC{}", "0a".repeat(16)), ..pair }]
    {
        for mut sdk in Sdk::both(&client, &pair) {
            refused(&sdk.create(ANN, "sms"), 401, 20003, "Authenticate");
        }
    }
}
