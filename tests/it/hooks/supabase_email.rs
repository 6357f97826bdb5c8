//! Supabase's Send Email hook: whose code goes where, and what is not carried.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ANN, EMAIL, call, email, open, records, tokens_used, told};
use crate::harness::Client;

const NEW: &str = "ann@example.org";

async fn send(client: &Client, uuid: &str, action: &str, tokens: [&str; 2]) -> Value {
    call(client, EMAIL, &email(uuid, action, [ANN, NEW], tokens)).await.expect(200).body
}

#[tokio::test]
async fn a_code_is_mailed_as_it_was_given() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    assert_eq!(send(&client, "u1", "signup", ["001122", ""]).await, json!({}));
    assert_eq!(client.code(ANN).await, "001122");
    let message = &client.messages(ANN).await[0];
    for part in ["subject", "text", "html"] {
        assert!(message[part].as_str().expect("words").contains("001122"), "{message}");
    }
    assert!(message["text"].as_str().expect("words").contains("It is valid for"), "the project's language: {message}");
    assert_eq!(client.messages(NEW).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_change_of_address_has_a_code_for_each_of_the_two() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    for _ in 0..2 {
        assert_eq!(send(&client, "u1", "email_change", ["001122", "003344"]).await, json!({}));
    }
    assert_eq!((client.code(ANN).await, client.code(NEW).await), ("001122".to_owned(), "003344".to_owned()));
    assert_eq!((client.messages(ANN).await.len(), client.messages(NEW).await.len()), (1, 1));
    assert_eq!(tokens_used(&client).await, 2);
}

#[tokio::test]
async fn a_single_code_of_a_change_goes_to_the_new_address_alone() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    assert_eq!(send(&client, "u1", "email_change", ["001122", ""]).await, json!({}));
    assert_eq!(client.code(NEW).await, "001122");
    assert_eq!(client.messages(ANN).await, Vec::<Value>::new());
    let anonymous = email("u2", "email_change", ["", "bob@example.com"], ["003344", ""]);
    call(&client, EMAIL, &anonymous).await.expect(200);
    assert_eq!(client.code("bob@example.com").await, "003344");
}

#[tokio::test]
async fn of_a_change_with_a_bad_address_nothing_is_sent() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    let payload = email("u1", "email_change", [ANN, "no address"], ["001122", "003344"]);
    assert_eq!(told(call(&client, EMAIL, &payload).await), (400, "E-mail address is invalid".to_owned()));
    assert_eq!(records(&client).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_has_no_code_is_not_sent_and_said_so() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    for action in ["password_changed_notification", "email_changed_notification", "email_change", "invite"] {
        let payload = email("u1", action, [ANN, NEW], ["", ""]);
        let words = format!("{action} has no code, and nothing but codes is sent");
        assert_eq!(told(call(&client, EMAIL, &payload).await), (422, words));
    }
    assert_eq!(records(&client).await, Vec::<Value>::new());
}

#[tokio::test]
async fn codes_of_one_kind_do_not_supersede_those_of_another() {
    let otpd = open(&[]).await;
    let client = otpd.client();
    for (uuid, action) in [("u1", "signup"), ("u2", "recovery"), ("u3", "recovery")] {
        assert_eq!(send(&client, uuid, action, ["001122", ""]).await, json!({}));
        client.clock.advance(Duration::from_secs(31));
    }
    let mut states = Vec::new();
    for record in records(&client).await {
        let timeline = client.live().record(record["id"].as_str().expect("an id")).await;
        states.push(format!("{} {}", record["recordId"], timeline["state"]).replace('"', ""));
    }
    assert_eq!(
        states,
        ["door:supabase:recovery open", "door:supabase:recovery superseded", "door:supabase:signup open"]
    );
}
