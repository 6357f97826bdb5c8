//! The limits of an address, over all keyless doors of a project, and whose address it is.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, check, number, other_than, rigged};
use crate::harness::Reply;

rigged!(
    an_address_sends_twenty_times_in_ten_minutes,
    an_address_sends_sixty_times_a_day,
    an_address_guesses_wrong_sixty_times_in_ten_minutes,
    only_what_the_proxy_says_counts,
    a_number_is_guessed_wrong_twenty_five_times_an_hour,
);

fn too_many() -> Value {
    json!({ "message": "Too many requests - Rate limit exceeded" })
}

async fn send(rig: &Rig, address: &str, number: &str) -> Reply {
    rig.post_from(address, "/api/send-otp", &json!({ "phoneNumber": number })).await
}

async fn guess(rig: &Rig, address: &str, number: &str, code: &str) -> Reply {
    rig.post_from(address, "/api/verify-otp", &json!({ "phoneNumber": number, "otp": code })).await
}

fn wait(reply: &Reply) -> u64 {
    reply.header("retry-after").expect("retry-after").parse().expect("seconds")
}

async fn an_address_sends_twenty_times_in_ten_minutes(rig: Rig) {
    rig.client.hold_time().await;
    // A home has a /64 of IPv6.
    for nth in 0..20 {
        send(&rig, &format!("2001:db8:0:1::{nth:x}"), &number(nth)).await.expect(200);
    }
    let refused = send(&rig, "2001:db8:0:1:ffff::1", &number(20)).await;
    check(&refused, 429, &too_many());
    assert!((1..=30).contains(&wait(&refused)), "{}", wait(&refused));
    assert_eq!((refused.header("ratelimit-limit"), refused.header("ratelimit-remaining")), (Some("20"), Some("0")));
    let door = rig.post_from("2001:db8:0:1::5", "/api/auth/send-otp", &json!({ "phone": number(20) })).await;
    check(&door, 429, &too_many());
    let door = rig.post_from("2001:db8:0:1::5", "/auth/mobile", &json!({ "mobile": number(20) })).await;
    check(&door, 429, &json!({ "statusCode": 429, "message": "Too Many Requests" }));
    send(&rig, "2001:db8:0:2::1", &number(20)).await.expect(200);
    send(&rig, "192.0.2.1", &number(21)).await.expect(200);
    rig.client.clock.advance(Duration::from_secs(30));
    send(&rig, "2001:db8:0:1::1", &number(22)).await.expect(200);
    send(&rig, "2001:db8:0:1::1", &number(23)).await.expect(429);
}

async fn an_address_sends_sixty_times_a_day(rig: Rig) {
    rig.client.hold_time().await;
    for nth in 0..60 {
        if nth > 0 && nth % 20 == 0 {
            rig.client.clock.advance(Duration::from_secs(600));
        }
        send(&rig, "192.0.2.1", &number(nth)).await.expect(200);
    }
    rig.client.clock.advance(Duration::from_secs(200));
    let refused = send(&rig, "192.0.2.1", &number(60)).await;
    check(&refused, 429, &too_many());
    assert_eq!(refused.header("ratelimit-limit"), Some("60"));
    rig.client.clock.advance(Duration::from_secs(86_400));
    send(&rig, "192.0.2.1", &number(60)).await.expect(200);
}

async fn an_address_guesses_wrong_sixty_times_in_ten_minutes(rig: Rig) {
    rig.client.hold_time().await;
    let mut last = String::new();
    for nth in 0..13 {
        send(&rig, &format!("198.51.100.{nth}"), &number(nth)).await.expect(200);
        last = rig.code(&number(nth)).await;
        for _ in 0..if nth < 12 { 5 } else { 0 } {
            guess(&rig, "192.0.2.1", &number(nth), &other_than(&last)).await.expect(401);
        }
    }
    for code in [&other_than(&last), &last] {
        let refused = guess(&rig, "192.0.2.1", &number(12), code).await;
        check(&refused, 429, &too_many());
        assert!((1..=10).contains(&wait(&refused)), "{}", wait(&refused));
    }
    guess(&rig, "192.0.2.2", &number(12), &last).await.expect(200);
}

async fn only_what_the_proxy_says_counts(rig: Rig) {
    rig.client.hold_time().await;
    for nth in 0..20 {
        send(&rig, &format!("203.0.113.{nth}, 192.0.2.1"), &number(nth)).await.expect(200);
    }
    send(&rig, "203.0.113.99, 192.0.2.1", &number(20)).await.expect(429);
    send(&rig, "192.0.2.1", &number(20)).await.expect(429);
    send(&rig, "192.0.2.1, 203.0.113.99", &number(20)).await.expect(200);
}

async fn a_number_is_guessed_wrong_twenty_five_times_an_hour(rig: Rig) {
    rig.client.hold_time().await;
    let code = rig.logging_in(&number(1)).await;
    for record in 0..4 {
        rig.client.clock.advance(Duration::from_secs(30));
        let body = json!({ "target": number(1), "channel": "sms", "recordId": record.to_string() });
        rig.client.send(&body).await.expect(202);
    }
    let codes = rig.codes(&number(1), 5).await;
    let wrong = ["000001", "000002", "000003", "000004", "000005", "000006"];
    let wrong = wrong.into_iter().find(|wrong| !codes.iter().any(|code| code == wrong)).expect("a wrong one");
    for record in 0..20 {
        let guess = json!({ "target": number(1), "code": wrong, "recordId": (record / 5).to_string() });
        assert_eq!(rig.client.post("/api/v1/otp/verify", &guess).await.expect(200).body["reason"], "Invalid code");
    }
    for _ in 0..4 {
        rig.log_in(&number(1), wrong).await.expect(401);
    }
    rig.log_in(&number(1), &other_than(&code)).await.expect(401);
    let refused = rig.log_in(&number(1), &code).await;
    check(&refused, 429, &too_many());
    assert!((100..=144).contains(&wait(&refused)), "{}", wait(&refused));
}

#[tokio::test]
async fn a_header_of_a_stranger_is_not_believed() {
    let rig = Rig::embedded(&[("OTPD_SERVER__TRUSTED_PROXIES", "")]).await;
    rig.client.hold_time().await;
    for nth in 0..20 {
        send(&rig, &format!("192.0.2.{nth}"), &number(nth)).await.expect(200);
    }
    check(&send(&rig, "192.0.2.200", &number(20)).await, 429, &too_many());
}
