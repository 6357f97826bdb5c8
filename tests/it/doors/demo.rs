//! The page to log in with: what it answers without a browser, and whom it refuses.

use std::time::Duration;

use reqwest::redirect::Policy;
use serde_json::{Value, json};

use super::login::serve;
use super::rig::BEHIND_A_PROXY;
use crate::harness::client::{Project, reply};
use crate::harness::process::{Environment, Process, run};
use crate::harness::{Client, Embedded, Reply};

const ANN: &str = "ann@example.com";
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

struct Page {
    client: Client,
    otpd: Embedded,
}

impl Page {
    async fn open() -> Self {
        let otpd = Embedded::start_with(&[BEHIND_A_PROXY]).await;
        let mut client = otpd.client();
        client.http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
        Self { client, otpd }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = self.client.http.get(self.client.url(path));
        reply(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let request = self.client.http.post(self.client.url(path)).form(fields);
        reply(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    async fn send(&self, target: &str) -> Reply {
        self.post("/demo/send", &[("target", target), ("step", "ask")], &[]).await
    }

    async fn verify(&self, target: &str, code: &str) -> Reply {
        self.post("/demo/verify", &[("target", target), ("code", code)], &[]).await
    }

    async fn me(&self, token: &str) -> Reply {
        self.get("/api/me", &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Logs in by the page without a script; the cookie.
    async fn cookie(&self) -> String {
        self.send(ANN).await.expect(200);
        let code = self.client.code(ANN).await;
        let fields = [("target", ANN), ("code", code.as_str())];
        let inside = self.post("/demo/verify", &fields, &[HTML]).await.expect(303);
        assert_eq!(inside.header("location"), Some("/demo"));
        inside.header("set-cookie").expect("a cookie").to_owned()
    }
}

fn other_than(code: &str) -> &'static str {
    if code == "000000" { "111111" } else { "000000" }
}

/// What a reply shows: status, step, words.
fn shown(reply: &Reply) -> (u16, &str, &str) {
    let words = if reply.text("error").is_empty() { "status" } else { "error" };
    (reply.status, reply.text("step"), reply.text(words))
}

#[tokio::test]
async fn a_code_logs_in_for_api_me_until_the_log_out() {
    let page = Page::open().await;
    for target in [ANN, "+14155552671"] {
        let sent = page.send(target).await;
        assert_eq!(shown(&sent), (200, "code", "A code is on its way. It is good for up to 5 minutes."));
        assert_eq!((&sent.body["resendIn"], sent.text("target")), (&json!(30), target));
        let code = page.client.code(target).await;
        let spelled = format!(" {} - {} ", &code[..3], &code[3..]);
        let inside = page.verify(target, &spelled).await;
        assert_eq!((inside.status, inside.text("step")), (200, "done"));
        assert_eq!(inside.header("set-cookie"), None, "a script keeps the token itself");
        let token = inside.text("token");
        page.me(token).await.expect(200);
        let bearer = format!("Bearer {token}");
        let outside = page.post("/demo/logout", &[], &[("authorization", &bearer)]).await;
        assert_eq!(shown(&outside), (200, "ask", "You are logged out."));
        page.me(token).await.expect(401);
    }
}

#[tokio::test]
async fn without_a_script_a_cookie_holds_the_session() {
    let page = Page::open().await;
    let cookie = page.cookie().await;
    let (pair, flags) = cookie.split_once("; ").expect("flags");
    assert_eq!(flags, "Path=/demo; Max-Age=900; HttpOnly; SameSite=Strict");
    let token = pair.strip_prefix("otpd_demo=").expect("its name");
    let others = format!("theme=dark; {pair}; lang=en");
    let inside = page.get("/demo", &[("cookie", &others)]).await.expect(200).body;
    let inside = inside.as_str().expect("a page");
    let me = page.me(token).await.expect(200);
    assert!(inside.contains("data-step=\"done\"") && inside.contains(me.text("id")), "{inside}");
    assert!(!inside.contains(token));

    let outside = page.post("/demo/logout", &[], &[("cookie", pair), HTML]).await.expect(200);
    assert!(outside.header("set-cookie").is_some_and(|cookie| cookie.starts_with("otpd_demo=; Path=/demo; Max-Age=0")));
    page.me(token).await.expect(401);
    for spent in [pair, "otpd_demo=nonsense", "otpd_demo=", "otpd_demo", ";;="] {
        let asks = page.get("/demo", &[("cookie", spent)]).await.expect(200).body;
        assert!(asks.as_str().is_some_and(|page| page.contains("data-step=\"ask\"")), "{spent}");
    }
}

#[tokio::test]
async fn wrong_codes_tell_how_many_attempts_are_left() {
    let page = Page::open().await;
    page.send(ANN).await.expect(200);
    let code = page.client.code(ANN).await;
    for left in ["4 attempts left", "3 attempts left", "2 attempts left", "1 attempt left", "no attempts left"] {
        let wrong = page.verify(ANN, other_than(&code)).await;
        assert_eq!((wrong.status, wrong.text("step"), &wrong.body["invalid"]), (401, "code", &json!(true)));
        assert!(wrong.text("error").contains(left), "{}", wrong.body);
    }
    let right = page.verify(ANN, &code).await;
    assert_eq!((right.status, right.body.get("token")), (401, None));
    page.otpd.clock.advance(Duration::from_secs(31));
    let again = page.post("/demo/send", &[("target", ANN), ("step", "code")], &[]).await;
    assert_eq!((again.status, again.text("step")), (429, "code"));
    assert!(again.text("error").starts_with("There were too many wrong codes. You can ask for another one in"));
    let wait: u32 = again.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((200..=269).contains(&wait), "{wait}");
}

#[tokio::test]
async fn another_code_may_be_asked_for_when_retry_after_is_over() {
    let page = Page::open().await;
    page.send(ANN).await.expect(200);
    let first = page.client.code(ANN).await;
    let soon = page.send(ANN).await;
    assert_eq!((soon.status, soon.text("step")), (429, "code"), "there is a code to be typed");
    let wait = soon.header("retry-after").and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((1..=30).contains(&wait) && soon.text("error").contains("You can ask for another one in"), "{}", soon.body);
    page.otpd.clock.advance(Duration::from_secs(wait));
    page.send(ANN).await.expect(200);
    page.verify(ANN, &first).await.expect(200);
    let used = page.verify(ANN, &first).await;
    assert_eq!(shown(&used), (401, "code", "That code has been used already. Ask for another one."));
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_so() {
    let page = Page::open().await;
    page.client.hold_time().await;
    for number in 0..20 {
        page.send(&format!("user{number}@example.com")).await.expect(200);
    }
    let refused = page.send("user20@example.com").await;
    assert_eq!(shown(&refused), (429, "ask", "That was too often. Try again in 30 seconds."));
    let from_elsewhere = [("x-forwarded-for", "192.0.2.1")];
    page.post("/demo/send", &[("target", "user20@example.com")], &from_elsewhere).await.expect(200);
}

#[tokio::test]
async fn what_is_no_target_and_no_code_is_told_at_its_step() {
    let page = Page::open().await;
    let problem = "Type a phone number with its country code, or an e-mail address.";
    for target in
        ["", " ", "ann", "ann@", "4155552671", "+1415555", "+9990000001", "ann\0@example.com", "late@sandbox.otpd"]
    {
        assert_eq!(shown(&page.send(target).await), (400, "ask", problem), "{target:?}");
    }
    assert_eq!(shown(&page.verify("nonsense", "123456").await), (400, "ask", problem));
    for code in ["", "12a456", "123", "12345678901", "１２３４５６"] {
        let told = "Type the code: digits and nothing else.";
        assert_eq!(shown(&page.verify(ANN, code).await), (400, "code", told), "{code:?}");
    }
    let never = page.verify("bob@example.com", "123456").await;
    assert_eq!(shown(&never), (401, "code", "There is no code to compare that with. Ask for another one."));
}

#[tokio::test]
async fn nothing_that_is_typed_becomes_markup() {
    let page = Page::open().await;
    let payload = "\"'><script>alert(1)</script>&amp;{{ base }}";
    for fields in [
        &[("target", payload), ("step", payload)][..],
        &[("target", payload), ("step", "code")],
        &[("target", payload), ("code", payload)],
        &[("target", ANN), ("code", payload)],
    ] {
        for path in ["/demo/send", "/demo/verify"] {
            let html = page.post(path, fields, &[HTML]).await.body;
            let html = html.as_str().expect("a page");
            assert!(
                html.starts_with("<!doctype html>") && !html.contains("<script>") && !html.contains("'>"),
                "{html}"
            );
        }
    }
    let told = page.post("/demo/send", &[("target", payload)], &[HTML]).await.expect(400).body;
    let value = "value=\"&quot;&#x27;&gt;&lt;script&gt;alert(1)&lt;&#x2f;script&gt;&amp;amp;{{ base }}\"";
    assert!(told.as_str().is_some_and(|html| html.contains(value)), "{told}");
    // An address that is one, and is no markup either.
    let sent = page.post("/demo/send", &[("target", "o'neil&co@example.com")], &[HTML]).await.expect(200).body;
    assert!(
        sent.as_str()
            .is_some_and(|html| html.contains("<strong data-text=\"target\">o&#x27;neil&amp;co@example.com</"))
    );
}

#[tokio::test]
async fn forms_of_other_pages_are_refused_and_do_nothing() {
    let page = Page::open().await;
    let own = page.client.urls[0].clone();
    let foreign: [&[(&str, &str)]; 5] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", &own)],
        &[("origin", "https://evil.example")],
        &[("origin", "http://127.0.0.1:1")],
        &[("origin", "null")],
    ];
    let cookie = page.cookie().await;
    let (cookie, token) = (cookie.split(';').next().expect("a pair"), &cookie["otpd_demo=".len()..]);
    for headers in foreign {
        let headers = [headers, &[("cookie", cookie)]].concat();
        for (path, fields) in [
            ("/demo/send", &[("target", "bob@example.com")][..]),
            ("/demo/verify", &[("target", ANN), ("code", "123456")]),
            ("/demo/logout", &[]),
        ] {
            let refused = page.post(path, fields, &headers).await.expect(403);
            assert_eq!(refused.body, json!({ "error": "This form can only be sent from its own page." }), "{path}");
        }
    }
    page.me(token.split(';').next().expect("a token")).await.expect(200);
    for headers in [&[("origin", own.as_str())][..], &[("sec-fetch-site", "same-origin"), ("origin", "null")]] {
        let target = format!("bob{}@example.com", headers.len());
        assert!(page.client.messages(&target).await.is_empty());
        page.post("/demo/send", &[("target", &target)], headers).await.expect(200);
    }
}

#[tokio::test]
async fn every_answer_is_kept_to_itself() {
    let page = Page::open().await;
    let answers = [
        page.get("/demo", &[]).await.expect(200),
        page.get("/demo/app.js", &[]).await.expect(200),
        page.get("/demo/style.css", &[]).await.expect(200),
        page.get("/demo/icon.svg", &[]).await.expect(200),
        page.get("/demo/page.html", &[]).await.expect(404),
        page.get("/demo/%ff", &[]).await.expect(404),
        page.get("/demo/send", &[("accept", "text/html")]).await.expect(405),
        page.post("/demo/send", &[("target", ANN)], &[HTML]).await.expect(200),
        page.post("/demo/send", &[], &[HTML]).await.expect(400),
        page.post("/demo/send", &[("target", ANN)], &[HTML, ("sec-fetch-site", "cross-site")]).await.expect(403),
        page.post("/demo/send", &[("target", &"a".repeat(17_000))], &[HTML]).await.expect(413),
    ];
    for answer in answers {
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.ends_with("frame-ancestors 'none'"), "{policy}");
        let header = |name| answer.header(name);
        assert_eq!((header("cache-control"), header("x-content-type-options")), (Some("no-store"), Some("nosniff")));
    }
    let html = page.get("/demo", &[]).await.body;
    let html = html.as_str().expect("a page").replace("&#x2f;", "/");
    for remote in ["http:", "https:", "=\"//", "<style", "style=", "onclick"] {
        assert!(!html.contains(remote), "{remote}");
    }
    let json = page.client.http.post(page.client.url("/demo/send")).json(&json!({ "target": ANN }));
    reply(json.header("accept", "text/html")).await.expect(415);
}

#[tokio::test]
async fn it_is_there_in_dev_alone() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let (_process, url) = serve(dir.path(), &[]).await;
    let http = Embedded::start().await.client().http;
    let paths = ["/demo", "/demo/app.js", "/demo/send", "/demo/verify", "/demo/logout"];
    for request in paths.iter().flat_map(|path| [http.get(format!("{url}{path}")), http.post(format!("{url}{path}"))]) {
        let closed = reply(request.header("accept", "text/html")).await.expect(404);
        assert_eq!(closed.body, json!({ "error": "This door is not bound to a project" }));
    }
}

#[tokio::test]
async fn dev_says_where_it_is() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let data = dir.path().join("data");
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data", data.to_str().expect("UTF-8")];
    let process = Process::start(&arguments, &Environment::new());
    let lines: Vec<_> = (0..4).map(|_| process.line()).collect();
    let place = lines.iter().find_map(|line| line.strip_prefix("  log in at")).expect("a line of its own").trim();
    assert!(place.ends_with("/demo"), "{place}");
    let html = reply(reqwest::Client::new().get(place)).await.expect(200).body;
    assert!(matches!(html, Value::String(html) if html.contains("Log in")));
}

#[tokio::test]
async fn it_goes_with_the_login_doors_project() {
    let mut page = Page::open().await;
    let arguments = ["project", "create", "Shop", "--unlimited", "--json", "--data", &page.otpd.data()];
    let (_, made, log) = run(&arguments, &page.otpd.environment);
    let made: Value = serde_json::from_str(&made).expect(&log);
    let text = |name: &str| made[name].as_str().expect(name).to_owned();
    let shop = Project { id: text("project_id"), live_key: text("live_key"), sandbox_key: text("sandbox_key") };
    page.otpd.environment.insert("OTPD_DOORS__LOGIN__PROJECT".to_owned(), shop.id.clone());
    page.otpd.restart();
    page.client = page.otpd.client().of(&shop);
    page.send(ANN).await.expect(200);
    let code = page.client.code(ANN).await;
    let inside = page.verify(ANN, &code).await.expect(200);
    assert_eq!(page.me(inside.text("token")).await.expect(200).text("project"), shop.id);
}
