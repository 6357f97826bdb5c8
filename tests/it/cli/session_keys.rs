//! The keys that sign tokens, as an operator sees and rotates them.

use serde_json::Value;
use tempfile::TempDir;

use super::{environment, json_of};
use crate::harness::Embedded;
use crate::harness::process::{Environment, Process, run};

/// The state of the key `kid` among those that are listed.
fn state<'a>(keys: &'a Value, kid: &str) -> &'a str {
    let mut keys = keys.as_array().expect("keys").iter();
    keys.find(|key| key["kid"] == kid).and_then(|key| key["state"].as_str()).unwrap_or("unknown")
}

fn kid_of(rotated: &Value) -> String {
    rotated["kid"].as_str().expect("a name").to_owned()
}

#[tokio::test]
async fn a_new_signing_key_comes_after_the_one_that_signs() {
    let otpd = Embedded::start().await;
    let first = kid_of(&json_of(&otpd, &["session", "keys", "rotate", "--now"]));
    let rotated = json_of(&otpd, &["session", "keys", "rotate"]);
    let second = kid_of(&rotated);
    assert_eq!((state(&rotated["keys"], &second), &rotated["revoked"]), ("coming", &0.into()));
    let third = kid_of(&json_of(&otpd, &["session", "keys", "rotate"]));
    let keys = json_of(&otpd, &["session", "keys", "list"]);
    assert_eq!([&first, &second, &third].map(|kid| state(&keys, kid)), ["signing", "coming", "coming"]);
    assert_eq!(keys[0]["kid"], third, "the one that signs last is first");
    assert!(keys[0]["signs_from"].as_str() > keys[0]["created_at"].as_str(), "{keys}");
    assert!(!keys.to_string().contains("sealed"), "{keys}");
}

#[tokio::test]
async fn compromised_keys_are_void_at_once() {
    let otpd = Embedded::start().await;
    let signing = kid_of(&json_of(&otpd, &["session", "keys", "rotate", "--now"]));
    let coming = kid_of(&json_of(&otpd, &["session", "keys", "rotate"]));
    let rotated = json_of(&otpd, &["session", "keys", "rotate", "--compromised"]);
    let kids = [signing, coming, kid_of(&rotated)];
    assert_eq!(kids.each_ref().map(|kid| state(&rotated["keys"], kid)), ["revoked", "revoked", "signing"]);
    let kept = rotated["keys"].as_array().expect("keys").iter().filter(|key| key["revoked_at"].is_null()).count();
    assert_eq!((kept, rotated["revoked"].as_u64() >= Some(2)), (1, true), "{rotated}");
}

#[tokio::test]
async fn rotation_is_told_in_words_too() {
    let otpd = Embedded::start().await;
    let data = otpd.data();
    let say = |arguments: &[&str]| {
        let arguments = [&["session", "keys"], arguments, &["--data", &data]].concat();
        let (code, stdout, log) = run(&arguments, &otpd.environment);
        assert_eq!(code, 0, "{log}");
        stdout
    };
    let first = say(&["rotate", "--now"]);
    assert!(first.starts_with("made ") && first.contains(", which signs at once\n"), "{first}");
    let second = say(&["rotate"]);
    assert!(second.contains(", which signs from 20") && second.contains("  coming    signs from 20"), "{second}");
    assert!(second.contains("  signing   signs from 20"), "{second}");
    assert!(say(&["rotate", "--compromised"]).contains("\nmade void: "));
    assert_eq!(say(&["list"]).lines().filter(|line| line.contains("  signing   ")).count(), 1);
}

#[tokio::test]
async fn a_key_is_made_under_the_servers_own_root_alone() {
    let (own, other) = ("07".repeat(32), "08".repeat(32));
    let otpd = Embedded::start_with(&[("OTPD_KEYS__ROOT", &own)]).await;
    let data = otpd.data();
    let rotate = |root: &[(&str, &str)], more: &[&str]| {
        let arguments = [&["session", "keys", "rotate", "--json", "--data", &data], more].concat();
        run(&arguments, &environment(root))
    };
    let (code, stdout, log) = rotate(&[], &[]);
    assert_eq!((code, stdout.as_str()), (78, ""));
    assert!(log.contains("root.key") && log.contains("OTPD_KEYS__ROOT"), "{log}");
    assert_eq!(rotate(&[("OTPD_KEYS__ROOT", &own)], &["--now"]).0, 0);
    let (code, _, log) = rotate(&[("OTPD_KEYS__ROOT", &other)], &[]);
    assert_eq!(code, 78);
    assert!(log.contains("keys.root is not the one that the signing keys are under"), "{log}");
    assert!(!log.contains(&own) && !log.contains(&other), "{log}");
    let both = [("OTPD_KEYS__ROOT", other.as_str()), ("OTPD_KEYS__PREVIOUS", own.as_str())];
    assert_eq!(rotate(&both, &[]).0, 0);
    assert_eq!(rotate(&[("OTPD_KEYS__ROOT", "abc")], &[]).0, 78);
}

#[test]
fn without_a_data_directory_the_root_key_must_be_told() {
    let settings = environment(&[("OTPD_STORE__URL", "postgres://otpd@127.0.0.1:1/otpd")]);
    let (code, stdout, log) = run(&["session", "keys", "rotate"], &settings);
    assert_eq!((code, stdout.as_str()), (78, ""));
    assert!(log.contains("keys.root is missing: set OTPD_KEYS__ROOT"), "{log}");
    assert_eq!(run(&["session", "keys", "rotate"], &Environment::new()).0, 78);
    assert_eq!(run(&["session", "keys", "list"], &Environment::new()).0, 78);
}

#[tokio::test]
async fn the_first_key_signs_at_once_and_retires_by_the_next_one() {
    let dir = TempDir::new().expect("a directory");
    let data = dir.path().to_str().expect("UTF-8").to_owned();
    let arguments = ["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut process = Process::start(&arguments, &Environment::new());
    process.logged("server.listen").await;
    assert!(process.terminate().await.success());
    let rotate = |more: &[&str]| -> Value {
        let arguments = [&["session", "keys", "rotate", "--json", "--data", &data], more].concat();
        serde_json::from_str(&run(&arguments, &Environment::new()).1).expect("JSON")
    };
    let first = rotate(&[]);
    assert_eq!(state(&first["keys"], &kid_of(&first)), "signing");
    assert_eq!(state(&rotate(&["--now"])["keys"], &kid_of(&first)), "retiring");
}
