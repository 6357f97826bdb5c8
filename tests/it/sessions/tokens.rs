//! What tokens say, who gets them, and who is believed.

use api::sessions::{BadToken, Verifier, target_hash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;

use super::{jwks, me, me_with, part, sandbox_project, signed_in, text, verified};
use crate::harness::{Client, Embedded};

const ANN: &str = "ann@example.com";
const PHONE: &str = "+14155552671";

async fn dev() -> (Embedded, Client) {
    let otpd = Embedded::start().await;
    let client = otpd.client().live();
    (otpd, client)
}

#[tokio::test]
async fn a_session_tells_who_and_never_the_target() {
    let (_otpd, client) = dev().await;
    let session = signed_in(&client, PHONE).await;
    assert_eq!((&session["tokenType"], &session["expiresIn"]), (&json!("Bearer"), &json!(900)));
    let access = text(&session, "accessToken");
    assert_eq!(part(&access, 0)["alg"], "EdDSA");
    let claims = part(&access, 1);
    assert_eq!(claims["sub"], session["user"]["id"]);
    assert_eq!((&claims["aud"], &claims["project"]), (&json!(client.project.id), &json!(client.project.id)));
    assert_eq!((&claims["iss"], &claims["channel"]), (&json!("otpd"), &json!("sms")));
    assert_eq!(claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat"), 900);
    for token in [&access, &text(&session, "refreshToken")] {
        assert!(!token.contains("4155552671") && !claims.to_string().contains("4155552671"));
    }
    let who = me_with(&client, &access).await.expect(200).body;
    assert_eq!((&who["id"], &who["channel"]), (&claims["sub"], &json!("sms")));
}

#[tokio::test]
async fn the_same_person_is_the_same_user_and_another_is_not() {
    let (otpd, client) = dev().await;
    let first = signed_in(&client, ANN).await;
    otpd.clock.advance(Duration::from_secs(31));
    let again = signed_in(&client, "Ann@EXAMPLE.com").await;
    let other = signed_in(&client, "bob@example.com").await;
    assert_eq!(first["user"]["id"], again["user"]["id"]);
    assert_ne!(first["user"]["id"], other["user"]["id"]);
    assert_ne!(first["accessToken"], again["accessToken"]);
}

#[tokio::test]
async fn a_session_must_be_asked_for_at_send_and_at_verify() {
    let (_otpd, client) = dev().await;
    let unasked = verified(&client, ANN, true, &json!({})).await;
    assert_eq!((unasked.get("session"), unasked.get("proof")), (None, None));
    let late = verified(&client, "bob@example.com", false, &json!({ "session": true })).await;
    assert_eq!(late["session"], Value::Null);
    for bad in [json!("yes"), json!(1)] {
        let guess = json!({ "target": ANN, "code": "123456", "session": bad });
        let refused = client.post("/api/v1/otp/verify", &guess).await.expect(400);
        assert_eq!(refused.body["message"], "session must be true or false");
    }
}

#[tokio::test]
async fn a_sandbox_verification_opens_nothing_of_a_live_project() {
    let (otpd, _) = dev().await;
    let body = verified(&otpd.client(), ANN, true, &json!({ "session": true, "proof": true })).await;
    assert_eq!((&body["session"], &body["proof"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_sandbox_projects_tokens_open_nothing_of_others() {
    let (otpd, client) = dev().await;
    let trial = sandbox_project(&otpd);
    let body = verified(&trial, ANN, true, &json!({ "session": true, "proof": true })).await;
    let access = text(&body["session"], "accessToken");
    assert_eq!(part(&access, 1)["aud"], format!("sandbox:{}", trial.project.id));
    assert_eq!(part(&text(&body, "proof"), 1)["aud"], format!("sandbox:proof:{}", trial.project.id));
    let refused = me_with(&client, &access).await.expect(401);
    assert_eq!(refused.body, json!({ "message": "Invalid credentials" }));
}

#[tokio::test]
async fn only_a_good_bearer_token_is_believed() {
    let (otpd, client) = dev().await;
    let access = text(&signed_in(&client, ANN).await, "accessToken");
    let [header, claims, signature] =
        <[&str; 3]>::try_from(access.split('.').collect::<Vec<_>>()).expect("three parts");
    assert_eq!(me(&client, None).await.expect(401).body, json!({ "message": "Missing credentials" }));
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = encode(&json!({ "alg": "none", "typ": "at+jwt" }));
    let symmetric = encode(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": part(&access, 0)["kid"] }));
    let mut theirs = part(&access, 1);
    theirs["sub"] = json!("somebody else");
    let bad = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer garbage".to_owned(),
        format!("Basic {access}"),
        access.clone(),
        format!("Bearer {none}.{claims}."),
        format!("Bearer {none}.{claims}.{signature}"),
        format!("Bearer {symmetric}.{claims}.{signature}"),
        format!("Bearer {header}.{}.{signature}", encode(&theirs)),
        format!("Bearer {header}.{claims}"),
        format!("Bearer {access}x"),
    ];
    for authorization in bad {
        let refused = me(&client, Some(&authorization)).await.expect(401);
        assert_eq!(refused.body, json!({ "message": "Invalid credentials" }), "{authorization}");
    }
    me(&client, Some(&format!("bearer {access}"))).await.expect(200);
    otpd.clock.advance(Duration::from_secs(15 * 60 + 31));
    me_with(&client, &access).await.expect(401);
}

#[tokio::test]
async fn a_logout_ends_its_session_and_no_other() {
    let (otpd, client) = dev().await;
    let first = signed_in(&client, ANN).await;
    otpd.clock.advance(Duration::from_secs(31));
    let second = signed_in(&client, ANN).await;
    let logout = |token: String| {
        let request = client.http.post(client.url("/auth/logout")).bearer_auth(token);
        async move { crate::harness::client::reply(request).await }
    };
    let done = logout(text(&first, "accessToken")).await.expect(200);
    assert_eq!(done.body, json!({ "message": "Logged out" }));
    logout(text(&first, "accessToken")).await.expect(401);
    me_with(&client, &text(&first, "accessToken")).await.expect(401);
    super::renew(&client, &text(&first, "refreshToken")).await.expect(401);
    me_with(&client, &text(&second, "accessToken")).await.expect(200);
    super::renew(&client, &text(&second, "refreshToken")).await.expect(200);
}

#[tokio::test]
async fn anybody_can_check_tokens_by_the_published_keys() {
    let (_otpd, client) = dev().await;
    let access = text(&signed_in(&client, ANN).await, "accessToken");
    let keys = jwks(&client).await.to_string();
    let checker = |issuer, audience: &str| {
        let verifier = Verifier::new(issuer, audience);
        verifier.set_keys(&keys).expect("keys");
        verifier
    };
    let own = checker("otpd", &client.project.id);
    assert_eq!(own.check(&access).expect("good").aud, client.project.id);
    assert_eq!(checker("otpd", "PRJ_other").check(&access), Err(BadToken::Invalid));
    assert_eq!(checker("https://evil.example", &client.project.id).check(&access), Err(BadToken::Invalid));
    assert_eq!(Verifier::new("otpd", &client.project.id).check(&access), Err(BadToken::Invalid));
    assert!(own.set_keys("{}").is_err());
    own.check(&access).expect("the keys from before are kept");
}

#[tokio::test]
async fn a_proof_says_what_was_verified_and_is_no_access_token() {
    let (_otpd, client) = dev().await;
    let body = verified(&client, PHONE, false, &json!({ "proof": true })).await;
    let proof = text(&body, "proof");
    assert_eq!(part(&proof, 0)["typ"], "proof+jwt");
    let claims = part(&proof, 1);
    assert_eq!(claims["aud"], format!("proof:{}", client.project.id));
    assert_eq!((&claims["verification"], &claims["channel"]), (&body["recordId"], &json!("sms")));
    assert_eq!(claims["target_hash"], target_hash(&text(&claims, "jti"), PHONE));
    assert_eq!(claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat"), 300);
    me_with(&client, &proof).await.expect(401);
}

#[tokio::test]
async fn a_shared_secret_signs_access_tokens_where_it_is_configured() {
    let secret = "a-shared-secret-of-more-than-32-characters";
    let settings = [("OTPD_SESSIONS__ALGORITHM", "HS256"), ("OTPD_SESSIONS__SECRET", secret)];
    let otpd = Embedded::start_with(&settings).await;
    let client = otpd.client().live();
    let body = verified(&client, ANN, true, &json!({ "session": true, "proof": true })).await;
    let access = text(&body["session"], "accessToken");
    assert_eq!(part(&access, 0)["alg"], "HS256");
    me_with(&client, &access).await.expect(200);
    let (signed, signature) = access.rsplit_once('.').expect("a signature");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let ours = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(ours), signature, "anybody with the secret can check it");
    assert_eq!(part(&text(&body, "proof"), 0)["alg"], "EdDSA", "proofs are for others to check");
}
