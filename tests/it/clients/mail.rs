//! E-mail by a real mail server: protection, login, the message, refusals, outages.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::mail_server::{MailServer, sender};
#[cfg(feature = "server-tests")]
use crate::harness::Distributed;
use crate::harness::client::Client;
use crate::harness::{Embedded, eventually};

async fn attempt(client: &Client, id: &str, count: usize) -> Value {
    eventually(&format!("{count} attempts"), || async {
        let record = client.record(id).await;
        let attempts = record["dispatches"][0]["attempts"].as_array()?.clone();
        attempts.get(count - 1).cloned()
    })
    .await
}

fn assert_is_whole(mail: &Value) {
    assert_eq!(mail["envelope"], json!(["otp@shop.example", ["Ann@example.com"]]));
    let headers = &mail["headers"];
    assert_eq!((&headers["from"], &headers["to"]), (&json!("Acme Shop <otp@shop.example>"), &json!("Ann@example.com")));
    assert_eq!(headers["auto-submitted"], "auto-generated");
    assert!(headers["date"].is_string());
    let message_id = headers["message-id"].as_str().expect("Message-ID");
    assert!(message_id.starts_with('<') && message_id.ends_with("@shop.example>"), "{message_id}");
    assert_eq!(mail["type"], "multipart/alternative");
    let subject = headers["subject"].as_str().expect("a subject");
    let code: String = subject.chars().take(6).collect();
    assert!(code.bytes().all(|byte| byte.is_ascii_digit()), "{subject}");
    for part in ["text", "html"] {
        assert!(mail[part].as_str().expect("a part").contains(&code), "{part} of {mail}");
    }
}

async fn a_message_arrives_whole(client: &Client, server: &MailServer) -> Value {
    let id = client.send_to("Ann@example.com").await;
    let mail = server.taken();
    assert_is_whole(&mail);
    let dispatch = client.record_in(&id, &["sent"]).await["dispatches"][0].clone();
    let message_id = dispatch["attempts"][0]["messageId"].as_str().expect("an id");
    assert_eq!(mail["headers"]["message-id"], format!("<{message_id}>"));
    let code: String = mail["headers"]["subject"].as_str().expect("a subject").chars().take(6).collect();
    assert_eq!(client.verify("ann@example.com", &code).await.body["valid"], true);
    mail
}

#[tokio::test]
async fn plain_mail_arrives_whole_embedded() {
    let server = MailServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let otpd = Embedded::start_with(&sender(&url)).await;
    let mail = a_message_arrives_whole(&otpd.client().live(), &server).await;
    assert_eq!((&mail["encrypted"], &mail["authenticated"]), (&json!(false), &json!(false)));
}

#[cfg(feature = "server-tests")]
#[tokio::test]
async fn plain_mail_arrives_whole_distributed() {
    let server = MailServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let otpd = Distributed::start_with(1, 1, &sender(&url)).await;
    a_message_arrives_whole(&otpd.client().live(), &server).await;
}

#[tokio::test]
async fn protected_mail_is_logged_in() {
    for tls in ["starttls", "implicit"] {
        let dir = TempDir::new().expect("a directory");
        let authority = dir.path().join("authority.pem");
        let authority = authority.to_str().expect("UTF-8");
        let server = MailServer::start(&["--tls", tls, "--authority", authority, "--login"]);
        let scheme = if tls == "implicit" { "smtps" } else { "smtp" };
        let url = format!("{scheme}://otp:swordfish@127.0.0.1:{}?tls={tls}", server.port);
        let settings = [sender(&url), vec![("SSL_CERT_FILE", authority)]].concat();
        let otpd = Embedded::start_with(&settings).await;
        let mail = a_message_arrives_whole(&otpd.client().live(), &server).await;
        assert_eq!((&mail["encrypted"], &mail["authenticated"]), (&json!(true), &json!(true)), "{tls}");
    }
}

#[tokio::test]
async fn a_stranger_is_told_nothing() {
    let dir = TempDir::new().expect("a directory");
    let authority = dir.path().join("authority.pem");
    let authority = authority.to_str().expect("UTF-8");
    for tls in ["starttls", "implicit"] {
        let server = MailServer::start(&["--tls", tls, "--authority", authority]);
        let url = format!("smtp://127.0.0.1:{}?tls={tls}", server.port);
        let otpd = Embedded::start_with(&sender(&url)).await;
        let client = otpd.client().live();
        let id = client.send_to("ann@example.com").await;
        let failed = attempt(&client, &id, 1).await;
        assert_eq!(failed["cause"], "unavailable", "{failed}");
        assert!(failed["detail"].as_str().expect("words").contains("certificate"), "{failed}");
        assert!(server.has_nothing_more());
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing() {
    let server = MailServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}?tls=starttls", server.port);
    let otpd = Embedded::start_with(&sender(&url)).await;
    let client = otpd.client().live();
    let id = client.send_to("ann@example.com").await;
    assert_eq!(attempt(&client, &id, 1).await["cause"], "misconfigured_endpoint");
    assert!(server.has_nothing_more());
}

#[tokio::test]
async fn a_wrong_password_is_a_misconfiguration() {
    let dir = TempDir::new().expect("a directory");
    let authority = dir.path().join("authority.pem");
    let authority = authority.to_str().expect("UTF-8");
    let server = MailServer::start(&["--tls", "starttls", "--authority", authority, "--login"]);
    let url = format!("smtp://otp:sardine@127.0.0.1:{}?tls=starttls", server.port);
    let otpd = Embedded::start_with(&[sender(&url), vec![("SSL_CERT_FILE", authority)]].concat()).await;
    let client = otpd.client().live();
    let id = client.send_to("ann@example.com").await;
    let failed = attempt(&client, &id, 1).await;
    assert_eq!(failed["cause"], "misconfigured_credentials");
    assert!(failed["detail"].as_str().expect("words").starts_with("535 "), "{failed}");
    assert!(server.has_nothing_more() && !otpd.process.log_text().contains("sardine"));
}

#[tokio::test]
async fn an_unknown_recipient_is_rejected_and_the_next_one_is_not() {
    let server = MailServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let otpd = Embedded::start_with(&sender(&url)).await;
    let client = otpd.client().live();
    let id = client.send_to("nobody@example.com").await;
    let dispatch = client.record_in(&id, &["failed"]).await["dispatches"][0].clone();
    assert_eq!((&dispatch["error"], &dispatch["attempts"][0]["cause"]), (&json!("rejected"), &json!("rejected")));
    assert_eq!(dispatch["attempts"][0]["detail"], "550 5.1.1 No such user here");
    assert_eq!(client.get("/api/v1/otp/token-info").await.body["tokensUsed"], 0);
    a_message_arrives_whole(&client, &server).await;
    assert!(server.has_nothing_more());
}

#[tokio::test]
async fn a_server_that_is_down_gets_its_mail_when_it_is_back() {
    let mut server = MailServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let otpd = Embedded::start_with(&sender(&url)).await;
    let client = otpd.client().live();
    // Leaves a connection that is kept for the next message.
    let before = client.send_to("before@example.com").await;
    server.taken();
    client.record_in(&before, &["sent"]).await;
    server.stop();
    let id = client.send_to("ann@example.com").await;
    let failed = attempt(&client, &id, 1).await;
    assert_eq!(failed["cause"], "unavailable", "{failed}");

    let server = MailServer::start(&["--port", &server.port.to_string()]);
    client.clock.advance(Duration::from_secs(3));
    let mail = server.taken();
    assert_eq!(mail["envelope"][1], json!(["ann@example.com"]));
    let dispatch = client.record_in(&id, &["sent"]).await["dispatches"][0].clone();
    assert_eq!(dispatch["attempts"].as_array().expect("attempts").len(), 2);
    assert!(server.has_nothing_more());
}
