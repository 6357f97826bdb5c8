//! Pages of other origins: who may call the keyless doors from a browser, and what such a page may read.

use reqwest::Method;
use serde_json::json;

use super::rig::{Rig, rigged};
use crate::harness::client::reply;
use crate::harness::{Reply, eventually};

rigged!(
    a_preflight_of_an_allowed_page_is_answered,
    replies_and_refusals_are_readable_by_allowed_pages_alone,
    doors_with_keys_are_not_for_pages,
);

const PAGE: &str = "https://app.example.com";
const STRANGERS: [&str; 5] = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "https://app.example.com:8443",
    "null",
];

async fn preflight(rig: &Rig, path: &str, origin: &str) -> Reply {
    let request = rig.request(Method::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    reply(request.header("access-control-request-headers", "content-type")).await
}

async fn post(rig: &Rig, path: &str, origin: &str, body: &serde_json::Value) -> Reply {
    reply(rig.request(Method::POST, path).header("origin", origin).json(body)).await
}

/// Allows [`PAGE`], and waits until that is known.
async fn allow(rig: &Rig) {
    rig.update(&["--allowed-origins", PAGE]);
    eventually("the page is allowed", || async {
        preflight(rig, "/api/send-otp", PAGE).await.header("access-control-allow-origin").map(|_| ())
    })
    .await;
}

async fn a_preflight_of_an_allowed_page_is_answered(rig: Rig) {
    assert_eq!(preflight(&rig, "/api/send-otp", PAGE).await.header("access-control-allow-origin"), None);
    allow(&rig).await;
    let paths = ["/api/send-otp", "/api/verify-otp", "/api/auth/send-otp", "/auth/mobile", "/auth/code", "/api/me"];
    for path in paths {
        let answer = preflight(&rig, path, PAGE).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{path}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET,POST"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,content-type"));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("origin")), "caches must keep them apart");
        for stranger in STRANGERS {
            let answer = preflight(&rig, path, stranger).await;
            assert_eq!(answer.header("access-control-allow-origin"), None, "{stranger} at {path}");
        }
    }
}

async fn replies_and_refusals_are_readable_by_allowed_pages_alone(rig: Rig) {
    allow(&rig).await;
    let body = json!({ "phoneNumber": "+14155552671" });
    for status in [200, 429] {
        let answer = post(&rig, "/api/send-otp", PAGE, &body).await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        let exposed = answer.header("access-control-expose-headers").expect("exposed headers");
        assert_eq!(exposed, "ratelimit-limit,ratelimit-remaining,ratelimit-reset,retry-after");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("ratelimit-remaining"), Some("0"), "a page may count down to the next send");
    }
    for bad in [json!({}), json!([]), json!({ "phoneNumber": "x".repeat(20_000) })] {
        let answer = post(&rig, "/api/send-otp", PAGE, &bad).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{}", answer.status);
    }
    for stranger in STRANGERS {
        let answer = post(&rig, "/api/send-otp", stranger, &body).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{stranger}");
    }
}

async fn doors_with_keys_are_not_for_pages(rig: Rig) {
    allow(&rig).await;
    for path in ["/send-otp", "/webhook/verify-otp", "/api/v1/otp/send"] {
        let answer = preflight(&rig, path, PAGE).await.expect(405);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

const LOOPBACK: [&str; 3] = ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:8080"];

#[tokio::test]
async fn pages_of_this_machine_may_call_the_doors_of_dev() {
    let rig = Rig::embedded(&[]).await;
    for page in LOOPBACK {
        let answer = preflight(&rig, "/auth/mobile", page).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(page));
    }
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn and_those_of_nobody_else() {
    let rig = Rig::distributed().await;
    for page in LOOPBACK {
        let answer = preflight(&rig, "/auth/mobile", page).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{page}");
    }
}
