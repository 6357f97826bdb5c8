//! The words: WebOTP's last line, locales, subject and HTML.

use serde_json::json;

use super::rig::{Rig, rigged};
use crate::harness::eventually;

rigged!(a_host_gets_the_last_line, the_locale_is_the_callers);

async fn a_host_gets_the_last_line(rig: Rig) {
    let project = rig.client.project.id.clone();
    rig.run(&["project", "update", &project, "--host", "login.example.com"]);
    let mut numbers = 2671..;
    eventually("the host", || {
        let number = format!("+1415555{}", numbers.next().expect("a number"));
        let rig = &rig;
        async move {
            let before = rig.twilio.count();
            rig.sms(&number).await;
            let body = rig.twilio.nth(before + 1).await.form()["Body"].clone();
            let (last, code) = (body.lines().last()?, body.chars().filter(char::is_ascii_digit).take(6));
            (last == format!("@login.example.com #{}", code.collect::<String>())).then_some(())
        }
    })
    .await;
    rig.client.send_to("ann@example.com").await;
    assert!(!rig.own.nth(1).await.json()["text"].as_str().expect("text").contains("login.example.com"));
}

async fn the_locale_is_the_callers(rig: Rig) {
    let body = json!({ "target": "ann@example.com", "channel": "email", "locale": "de-AT" });
    let id = rig.client.send(&body).await.expect(202).text("recordId").to_owned();
    let sent = rig.own.nth(1).await.json();
    let text = |name: &str| sent[name].as_str().expect("text").to_owned();
    assert_eq!(text("locale"), "de-AT");
    assert!(text("subject").starts_with(&format!("{} ist Ihr Code für ", text("code"))), "{sent}");
    assert!(text("html").contains("<html lang=\"de\">") && text("text").contains("Er gilt 5 Minute(n)"), "{sent}");
    assert_eq!(rig.client.record(&id).await["locale"], "de-AT");

    let sandbox = rig.client.with_key(&rig.client.project.sandbox_key.clone());
    sandbox.send(&json!({ "target": "+14155552671", "channel": "sms", "locale": "fr" })).await.expect(202);
    let code = sandbox.code("+14155552671").await;
    let message = sandbox.messages("+14155552671").await[0].clone();
    assert!(message["text"].as_str().expect("text").contains(&code), "{message}");
    assert_eq!((message["subject"].is_null(), message["html"].is_null()), (true, true));
}
