//! The command line: what it prints, where, and with which exit code.

mod providers;
mod session_keys;
mod tenants;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::Project;
use crate::harness::process::{Environment, Process, run};
use crate::harness::{Client, Embedded, eventually};

fn environment(settings: &[(&str, &str)]) -> Environment {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn json_of(otpd: &Embedded, arguments: &[&str]) -> Value {
    let data = otpd.data();
    let (code, stdout, log) = run(&[arguments, &["--data", &data, "--json"]].concat(), &otpd.environment);
    assert_eq!(code, 0, "{log}");
    serde_json::from_str(&stdout).expect("JSON alone on stdout")
}

#[tokio::test]
async fn the_printed_curl_lines_work_when_pasted() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let data = dir.path().join("data");
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data", data.to_str().expect("UTF-8")];
    let process = Process::start(&arguments, &Environment::new());
    let mut lines = Vec::new();
    while lines.iter().filter(|line: &&String| line.starts_with("curl ")).count() < 3 {
        lines.push(process.line());
    }
    let curl: Vec<_> = lines.iter().filter(|line| line.starts_with("curl ")).collect();
    let paste = |line: &str| {
        let output = std::process::Command::new("bash").args(["-c", line]).output().expect("bash");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(paste(curl[0])["message"], "OTP generated and queued");
    eventually("the message", || async { paste(curl[1])["messages"][0]["code"].is_string().then_some(()) }).await;
    assert_eq!(paste(curl[2])["valid"], true);
    let told = process.line() + &process.line();
    assert!(told.contains("live messages go to the sandbox inbox too"), "{told}");
}

#[tokio::test]
async fn keys_are_shown_once_and_data_is_private() {
    let mut otpd = Embedded::start().await;
    otpd.client().send_to("ann@example.com").await;
    otpd.restart();
    assert_eq!(otpd.client().get("/api/v1/otp/records").await.expect(200).body["pagination"]["total"], 1);
    for file in ["otpd.db", "root.key", "lock"] {
        let mode = std::fs::metadata(format!("{}/{file}", otpd.data())).expect(file).permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is private");
    }
}

#[tokio::test]
async fn a_taken_port_and_a_data_directory_in_use_are_one_clear_line() {
    let otpd = Embedded::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let dir = tempfile::TempDir::new().expect("a directory");
    let fresh = dir.path().to_str().expect("UTF-8").to_owned();
    let (code, stdout, log) = run(&["dev", "--listen", &address, "--data", &fresh], &Environment::new());
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(log.lines().last().expect("a line").starts_with(&format!("otpd: cannot listen on {address}: ")), "{log}");
    let process = Process::start(&["dev", "--json", "--listen", "127.0.0.1:0", "--data", &fresh], &Environment::new());
    let first: Value = serde_json::from_str(&process.line()).expect("JSON");
    assert!(first["live_key"].is_string(), "a start that failed has not used the keys up: {first}");
    let (code, _, log) = run(&["dev", "--listen", "127.0.0.1:0", "--data", &otpd.data()], &Environment::new());
    assert_eq!(code, 1);
    assert!(log.trim().ends_with("is in use by another otpd; stop it or set --data"), "{log}");
}

#[test]
fn dev_does_not_listen_to_the_world_unasked() {
    let (code, _, log) = run(&["dev", "--listen", "0.0.0.0:0"], &Environment::new());
    assert_eq!(code, 2);
    assert!(log.contains("--i-know"), "{log}");
}

#[tokio::test]
async fn projects_and_keys_are_kept_beside_a_running_server() {
    let otpd = Embedded::start().await;
    let made = json_of(&otpd, &["project", "create", "Acme", "--tokens", "100000", "--ttl", "120", "--rate", "50"]);
    let id = made["project_id"].as_str().expect("an id").to_owned();
    let text = |name: &str| made[name].as_str().expect("a key").to_owned();
    let project = Project { id: id.clone(), live_key: text("live_key"), sandbox_key: text("sandbox_key") };
    let client = otpd.client().of(&project);
    let sent = client.send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(202);
    assert_eq!(sent.body["expiresIn"], 120);

    let shown = json_of(&otpd, &["project", "show", &id]);
    assert_eq!(
        (&shown["tokens"], &shown["tokens_used"], &shown["settings"]["ttl"]),
        (&100_000.into(), &1.into(), &120.into())
    );
    assert_eq!(json_of(&otpd, &["project", "list"]).as_array().expect("projects").len(), 2);

    json_of(&otpd, &["project", "update", &id, "--ttl", "60", "--cooldown", "1"]);
    eventually("the new life", || async {
        let body =
            json!({ "target": "life@sandbox.otpd", "channel": "email", "recordId": uuid::Uuid::now_v7().to_string() });
        (client.send(&body).await.body["expiresIn"] == 60).then_some(())
    })
    .await;

    let key = json_of(&otpd, &["key", "create", "--project", &id, "--sandbox"]);
    let other = client.with_key(key["key"].as_str().expect("a key"));
    other.get("/api/v1/otp/token-info").await.expect(200);
    json_of(&otpd, &["key", "revoke", key["prefix"].as_str().expect("a prefix")]);
    eventually("the revocation", || async { (other.get("/api/v1/otp/token-info").await.status == 401).then_some(()) })
        .await;
    let keys = json_of(&otpd, &["key", "list", "--project", &id]);
    assert_eq!(keys.as_array().expect("keys").iter().filter(|key| key["revoked_at"].is_string()).count(), 1);
}

#[tokio::test]
async fn dispatches_are_listed_and_tried_again() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let id = client.send_to("throttled@sandbox.otpd").await;
    eventually("a failed attempt", || async {
        let record = client.record(&id).await;
        record["dispatches"][0]["attempts"][0]["cause"].is_string().then_some(())
    })
    .await;
    let waiting = json_of(&otpd, &["dispatch", "list", "--status", "queued,sending"]);
    let dispatch = waiting[0]["dispatch"].as_str().expect("an id").to_owned();
    assert_eq!(dispatch, format!("{id}:1"));
    assert_eq!(json_of(&otpd, &["dispatch", "retry", &dispatch])["retried"], true);

    let delivered = client.send_to("ann@example.com").await;
    client.record_in(&delivered, &["delivered"]).await;
    let (code, _, log) =
        run(&["dispatch", "retry", &format!("{delivered}:1"), "--data", &otpd.data()], &otpd.environment);
    assert_eq!(code, 1);
    assert!(log.contains("a provider has accepted it"), "{log}");
}

#[test]
fn wrong_settings_are_all_told_and_exit_with_78() {
    let settings = environment(&[
        ("OTPD_SERVER__LISTEN", "nonsense"),
        ("OTPD_WORKER__CONCURRENCY", "many"),
        ("OTPD_KEYS__ROOT", "abc"),
        ("OTPD_NO__SUCH", "1"),
    ]);
    let (code, stdout, log) = run(&["config", "check"], &settings);
    assert_eq!((code, stdout.as_str()), (78, ""));
    for word in ["server.listen", "OTPD_WORKER__CONCURRENCY", "no.such"] {
        assert!(log.contains(word), "{word} in {log}");
    }
    let (code, _, log) = run(&["config", "check"], &Environment::new());
    assert_eq!(code, 78);
    for word in ["OTPD_STORE__URL", "OTPD_QUEUE__URL", "OTPD_KEYS__ROOT"] {
        assert!(log.contains(word), "{word} in {log}");
    }
    assert_eq!(run(&["config", "check", "--embedded"], &Environment::new()).0, 0);
    assert_eq!(run(&["api"], &Environment::new()).0, 78);
    assert_eq!(run(&["project", "list"], &Environment::new()).0, 78);
}

#[test]
fn a_check_goes_on_behind_the_first_error() {
    let settings = environment(&[
        ("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef"),
        ("TWILIO_AUTH_TOKEN", "swordfish"),
        ("TWILIO_FROM", "+15005550006"),
        ("OTPD_SERVER__LISTEN", "nonsense"),
        ("OTPD_SERVER__PUBLIC_URL", "https://"),
        ("OTPD_RELAY__INTERVAL_MS", "1"),
        ("OTPD_ROUTES__EMAIL", "twilio"),
        ("OTPD_ROUTES__SMS", "twilio,nobody"),
        ("OTPD_PROVIDERS__TWILO__MAX_PER_SECOND", "5"),
        ("OTPD_PROVIDERS__TWILIO__MAX_CONCURRENT", "many"),
        ("OTPD_PROVIDERS__OWN__KIND", "webhook"),
    ]);
    let (code, _, log) = run(&["config", "check", "--embedded"], &settings);
    assert_eq!(code, 78);
    for problem in [
        "server.listen: ",
        "server.public_url: ",
        "relay.interval_ms must be 10 to 60000",
        "routes.email: twilio does not carry email",
        "routes.sms: there is no provider nobody",
        "providers.twilo: it has bounds alone",
        "providers.twilio.max_concurrent must be",
        "providers.own.url: ",
    ] {
        assert!(log.contains(problem), "{problem} in {log}");
    }
}

#[test]
fn bounds_of_no_provider_are_named_at_start_and_in_the_list() {
    let settings = environment(&[
        ("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef"),
        ("TWILIO_AUTH_TOKEN", "swordfish"),
        ("TWILIO_FROM", "+15005550006"),
        ("OTPD_PROVIDERS__TWILO__MAX_PER_SECOND", "5"),
        ("OTPD_PROVIDERS__TWILIO__MAX_CONCURRENT", "many"),
    ]);
    let dir = tempfile::TempDir::new().expect("a directory");
    let data = dir.path().to_str().expect("UTF-8");
    let (code, _, log) = run(&["serve", "--listen", "127.0.0.1:0", "--data", data], &settings);
    assert_eq!(code, 78, "{log}");
    let (code, stdout, _) = run(&["providers", "list", "--json"], &settings);
    assert_eq!(code, 0);
    let listed: Value = serde_json::from_str(&stdout).expect("JSON");
    for (name, problem) in [("twilo", "it has bounds alone"), ("twilio", "max_concurrent must be")] {
        let providers = listed["providers"].as_array().expect("providers");
        let of = providers.iter().find(|provider| provider["provider"] == name).expect(name);
        assert_eq!(of["status"], "wrong", "{of}");
        assert!(of["problems"][0].as_str().expect("a problem").contains(problem), "{of}");
        assert!(log.contains(problem), "{problem} in {log}");
    }
}

#[test]
fn what_cannot_be_written_is_an_error_but_for_a_closed_pipe() {
    let otpd = |redirected: &str| {
        let line = format!("{:?} config show {redirected}", env!("CARGO_BIN_EXE_otpd"));
        std::process::Command::new("bash").args(["-c", &line]).env_clear().output().expect("bash")
    };
    let full = otpd("> /dev/full");
    assert_eq!(full.status.code(), Some(1));
    let said = String::from_utf8(full.stderr).expect("UTF-8");
    assert!(said.starts_with("otpd: cannot write to stdout: "), "{said}");
    let piped = otpd("| head -n 0; exit ${PIPESTATUS[0]}");
    assert_eq!(piped.status.code(), Some(0), "{piped:?}");
}

#[test]
fn shown_settings_are_toml_and_hide_secrets() {
    let secrets = environment(&[
        ("OTPD_KEYS__ROOT", &"ab".repeat(32)),
        ("OTPD_STORE__URL", "postgres://otpd:hunter2@db:5432/otpd"),
        ("OTPD_PROVIDERS__TWILIO__AUTH_TOKEN", "swordfish"),
    ]);
    let (code, stdout, _) = run(&["config", "show"], &secrets);
    assert_eq!(code, 0);
    assert!(stdout.contains("server.listen = \"127.0.0.1:8080\""), "{stdout}");
    for secret in ["abab", "hunter2", "swordfish"] {
        assert!(!stdout.contains(secret), "{stdout}");
    }
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    assert_eq!(run(&["nonsense"], &Environment::new()).0, 2);
    assert_eq!(run(&["project", "create"], &Environment::new()).0, 2);
    let (code, _, log) = run(&["dev", "--clock-file"], &Environment::new());
    assert_eq!(code, 2, "{log}");
    for command in [&["--help"][..], &["api", "--help"], &["project", "create", "--help"], &["dispatch", "--help"]] {
        let (code, stdout, _) = run(command, &Environment::new());
        assert_eq!(code, 0);
        assert!(stdout.contains("Usage: otpd"), "{stdout}");
    }
}

#[tokio::test]
async fn serve_has_no_project_of_its_own_and_no_sandbox_for_live_sends() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let data = dir.path().to_str().expect("UTF-8").to_owned();
    let clock = crate::harness::clock::TestClock::in_dir(dir.path());
    let arguments = ["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let process = Process::start(&arguments, &Environment::new());
    let url = format!("http://{}", process.logged("server.listen").await);
    let admin = format!("http://{}", process.logged("server.admin_listen").await);
    let (code, stdout, log) = run(&["project", "list", "--data", &data, "--json"], &Environment::new());
    assert_eq!((code, stdout.trim()), (0, "[]"), "{log}");
    let (_, stdout, _) = run(&["project", "create", "Acme", "--json", "--data", &data], &Environment::new());
    let made: Value = serde_json::from_str(&stdout).expect("JSON");
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    let project = Project { id: text("project_id"), live_key: text("live_key"), sandbox_key: text("sandbox_key") };
    let client = Client::new(vec![url.clone()], admin.clone(), project, clock);
    let refused = client.live().send(&json!({ "target": "ann@example.com", "channel": "email" })).await.expect(503);
    assert_eq!(refused.body["code"], "no_provider");
    client.send_to("ann@example.com").await;
    client.code("ann@example.com").await;

    assert_eq!(client.http.get(format!("{url}/metrics")).send().await.expect("a reply").status(), 404);
    let wanted = [
        "otpd_accepts_total",
        "otpd_refusals_total",
        "otpd_claims_total",
        "otpd_attempts_total",
        "otpd_batch_size_bucket",
        "otpd_accept_to_handed_over_seconds_bucket",
        "otpd_provider_breaker",
        "otpd_oldest_due_seconds",
    ];
    eventually("every metric is shown", || async {
        let metrics = client.http.get(format!("{admin}/metrics")).send().await.ok()?.text().await.ok()?;
        wanted.iter().all(|name| metrics.contains(&format!("\n{name}"))).then_some(())
    })
    .await;
    // It waits three seconds, and whoever asks it asks again.
    let health = || run(&["health", &format!("{admin}/healthz")], &Environment::new());
    let well = eventually("health", || async { Some(health()).filter(|(code, ..)| *code == 0) }).await;
    assert_eq!(well.1, "alive\n");
    assert_eq!(run(&["health", "http://127.0.0.1:1/healthz"], &Environment::new()).0, 1);
}

#[tokio::test]
async fn whatever_callers_call_their_methods_the_metrics_stay_bounded() {
    let otpd = Embedded::start().await;
    let client = otpd.client();
    let requests = (0..100).map(|nth| {
        let method = Method::from_bytes(format!("METHOD{nth}").as_bytes()).expect("a method");
        client.http.request(method, client.url("/api/v1/otp/send")).send()
    });
    futures_util::future::join_all(requests).await;
    let metrics = client.http.get(client.url("/metrics")).send().await.expect("a reply").text().await.expect("text");
    let of_odd = |line: &&str| line.contains("method=\"other\"") && line.contains("_count{");
    assert_eq!(metrics.lines().filter(of_odd).count(), 1, "{metrics}");
    assert!(!metrics.contains("METHOD"), "{metrics}");
}

#[tokio::test]
async fn nothing_that_a_thief_would_like_is_logged() {
    let otpd =
        Embedded::start_with(&[("OTPD_LOG__LEVEL", "trace,sqlx=info,hyper=info"), ("OTPD_LOG__SAMPLE", "1")]).await;
    let client = otpd.client();
    let id = client.send_to("ann.secret@example.com").await;
    let code = client.code("ann.secret@example.com").await;
    client.verify("ann.secret@example.com", &code).await.expect(200);
    client.record_in(&id, &["delivered"]).await;
    // One that the parser of numbers logs in parts, too.
    for number in ["+14155552671", "+1415555267155"] {
        client.send(&json!({ "target": number, "channel": "sms" })).await;
    }
    // Route templates are logged.
    otpd.process.says("\"http.route\":\"/api/v1/otp/records/{id}\"").await;
    let log = otpd.process.log_text();
    let secret_half = client.key.rsplit('_').next().expect("a secret").to_owned();
    for secret in ["ann.secret", "4155552671", &secret_half, &format!("\"{code}\"")] {
        assert!(!log.contains(secret), "{secret} was logged");
    }
}
