//! A running system whose keyless doors are all bound to its project, and a sender of the tests' own that gets the codes.

use std::sync::atomic::{AtomicU8, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

#[cfg(feature = "server-tests")]
use crate::harness::Distributed;
use crate::harness::client::{Project, reply};
use crate::harness::process::{Environment, run};
use crate::harness::stub::{Answer, Stub};
use crate::harness::{Client, Embedded, Reply, eventually};

/// The tests stand where a proxy would, and so are as many as they like.
pub(super) const BEHIND_A_PROXY: (&str, &str) = ("OTPD_SERVER__TRUSTED_PROXIES", "127.0.0.1/32");
pub(super) const KEYLESS: [&str; 3] = ["LOGIN", "1PORT", "MOBILE"];

pub(super) struct Rig {
    /// With the live key.
    pub(super) client: Client,
    pub(super) stub: Stub,
    otpd: Otpd,
    environment: Environment,
    data: Option<String>,
    callers: AtomicU8,
}

enum Otpd {
    Embedded(Box<Embedded>),
    #[cfg(feature = "server-tests")]
    Distributed(Box<Distributed>),
}

/// Runs scenarios in both ways to run, each with a rig of its own.
macro_rules! rigged {
    ($($scenario:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario($crate::doors::rig::Rig::embedded(&[]).await).await;
                }
            )+
        }
        #[cfg(feature = "server-tests")]
        mod distributed {
            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario($crate::doors::rig::Rig::distributed().await).await;
                }
            )+
        }
    };
}
pub(super) use rigged;

fn settings<'a>(stub: &'a Stub, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = stub.settings();
    settings.push(BEHIND_A_PROXY);
    settings.extend(more);
    settings
}

impl Rig {
    pub(super) async fn embedded(more: &[(&str, &str)]) -> Self {
        let stub = Stub::start(Answer::AT_ONCE);
        let otpd = Embedded::start_with(&settings(&stub, more)).await;
        let (client, environment, data) = (otpd.client().live(), otpd.environment.clone(), Some(otpd.data()));
        Self { client, stub, otpd: Otpd::Embedded(Box::new(otpd)), environment, data, callers: AtomicU8::new(1) }
    }

    #[cfg(feature = "server-tests")]
    pub(super) async fn distributed() -> Self {
        let stub = Stub::start(Answer::AT_ONCE);
        let mut otpd = Distributed::prepare(&settings(&stub, &[])).await;
        let project = otpd.client().project.id;
        for door in KEYLESS {
            otpd.environment.insert(format!("OTPD_DOORS__{door}__PROJECT"), project.clone());
        }
        otpd.add_api().await;
        otpd.add_worker().await;
        let (client, environment) = (otpd.client().live(), otpd.environment.clone());
        let otpd = Otpd::Distributed(Box::new(otpd));
        Self { client, stub, otpd, environment, data: None, callers: AtomicU8::new(1) }
    }

    /// A request without a key, as from an address that nobody else calls from.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let caller = self.callers.fetch_add(1, Ordering::Relaxed);
        self.request_from(&format!("192.0.2.{caller}"), method, path)
    }

    pub(super) fn request_from(&self, address: &str, method: Method, path: &str) -> RequestBuilder {
        self.client.http.request(method, self.client.url(path)).header("x-forwarded-for", address)
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Reply {
        reply(self.request(Method::POST, path).json(body)).await
    }

    pub(super) async fn post_from(&self, address: &str, path: &str, body: &Value) -> Reply {
        reply(self.request_from(address, Method::POST, path).json(body)).await
    }

    /// `GET /api/me` with this token.
    pub(super) async fn me(&self, token: &str) -> Reply {
        reply(self.request(Method::GET, "/api/me").bearer_auth(token)).await
    }

    /// The codes that were sent to a number, once there are so many messages; the newest is the last.
    pub(super) async fn codes(&self, number: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} messages to {number}"), || async {
            let arrivals = self.stub.arrivals().into_iter().filter(|arrival| arrival.target == number);
            let codes: Vec<_> = arrivals.map(|arrival| arrival.code).collect();
            (codes.len() >= count).then_some(codes)
        })
        .await
    }

    pub(super) async fn code(&self, number: &str) -> String {
        self.codes(number, 1).await.pop().expect("a code")
    }

    /// Sends through the login door; the code.
    pub(super) async fn logging_in(&self, number: &str) -> String {
        let before = self.stub.arrivals().iter().filter(|arrival| arrival.target == number).count();
        self.post("/api/send-otp", &json!({ "phoneNumber": number })).await.expect(200);
        self.codes(number, before + 1).await.pop().expect("a code")
    }

    /// Verifies at the login door.
    pub(super) async fn log_in(&self, number: &str, code: &str) -> Reply {
        self.post("/api/verify-otp", &json!({ "phoneNumber": number, "otp": code })).await
    }

    /// Runs a command of the program beside the system; its JSON.
    pub(super) fn cli(&self, arguments: &[&str]) -> Value {
        let (code, stdout, log) = self.run(arguments);
        assert_eq!(code, 0, "{log}");
        serde_json::from_str(&stdout).expect("JSON")
    }

    /// Runs one that is refused: its exit code and what it says.
    pub(super) fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let (code, _, log) = self.run(arguments);
        (code, log)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let data = self.data.iter().flat_map(|data| ["--data", data.as_str()]);
        let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).chain(data).collect();
        run(&arguments, &self.environment)
    }

    /// Another project, made with these flags.
    pub(super) fn project(&self, flags: &[&str]) -> Project {
        let made = self.cli(&[&["project", "create", "Other", "--unlimited"], flags].concat());
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        Project { id: text("project_id"), live_key: text("live_key"), sandbox_key: text("sandbox_key") }
    }

    /// Changes settings of the project.
    pub(super) fn update(&self, flags: &[&str]) {
        self.cli(&[&["project", "update", &self.client.project.id], flags].concat());
    }

    /// All that the program has said, once it has said this.
    pub(super) async fn log_with(&self, words: &str) -> String {
        eventually(&format!("{words:?} in the log"), || async {
            let log = self.log();
            log.contains(words).then_some(log)
        })
        .await
    }

    fn log(&self) -> String {
        match &self.otpd {
            Otpd::Embedded(otpd) => otpd.process.log_text(),
            #[cfg(feature = "server-tests")]
            Otpd::Distributed(otpd) => {
                otpd.apis.iter().chain(&otpd.workers).map(|process| process.log_text()).collect()
            }
        }
    }
}

/// The nth of many valid numbers.
pub(super) fn number(nth: usize) -> String {
    format!("+1415555{:04}", 2000 + nth)
}

/// A code of the same length that is not this one.
pub(super) fn other_than(code: &str) -> String {
    let (kept, last) = code.split_at(code.len() - 1);
    format!("{kept}{}", if last == "0" { "1" } else { "0" })
}

/// The claims of a token, unchecked.
pub(super) fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64url")).expect("JSON")
}

/// The whole of a refusal: status and body.
#[track_caller]
pub(super) fn check(reply: &Reply, status: u16, body: &Value) {
    assert_eq!((reply.status, &reply.body), (status, body));
}
