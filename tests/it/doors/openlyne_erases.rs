//! What is left of a user whom the openlyne door has verified: a row for the statistics, and nothing to know them by.

use futures_util::future::join_all;
use serde_json::json;

use super::openlyne::{NUMBER, UID, refused, send, verified, verify};
use super::rig::{Rig, check, rigged};

rigged!(
    success_erases_number_and_code_and_keeps_the_row,
    of_twenty_right_answers_one_wins,
    the_digits_are_six_whatever_the_project_says,
);

async fn success_erases_number_and_code_and_keeps_the_row(rig: Rig) {
    send(&rig, &json!({ "phone": 256_700_123_456_u64, "uid": UID })).await.expect(200);
    let code = rig.code(NUMBER).await;
    let path = format!("/api/v1/otp/records?recordId={UID}");
    let before = rig.client.get(&path).await.expect(200).body["records"][0].clone();
    assert_eq!((&before["target"], &before["verified"]), (&json!(NUMBER), &json!(false)));
    check(&verify(&rig, UID, &code).await, 200, &verified("256700123456"));

    let after = rig.client.get(&path).await.expect(200).body["records"][0].clone();
    assert_eq!((&after["target"], &after["verified"]), (&json!(null), &json!(true)));
    assert_eq!(after["id"], before["id"]);
    let record = rig.client.record(after["id"].as_str().expect("an id")).await;
    assert_eq!((&record["target"], &record["state"]), (&json!(null), &json!("verified")));
    let stats = rig.client.get("/api/v1/otp/stats").await.expect(200).body;
    assert_eq!((&stats["total"], &stats["verified"], &stats["byCountry"]["UG"]), (&json!(1), &json!(1), &json!(1)));

    check(&verify(&rig, UID, &code).await, 400, &refused("OTP has been used", "code_used"));
    let by_id = json!({ "target": NUMBER, "code": code, "recordId": after["id"] });
    let answer = rig.client.post("/api/v1/otp/verify", &by_id).await.expect(200).body;
    assert_eq!(answer["reason"], "No verification found");
}

async fn of_twenty_right_answers_one_wins(rig: Rig) {
    send(&rig, &json!({ "phone": 256_700_123_456_u64, "uid": UID })).await.expect(200);
    let code = rig.code(NUMBER).await;
    let replies = join_all((0..20).map(|_| verify(&rig, UID, &code))).await;
    let (right, late): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((right.len(), &right[0].body), (1, &verified("256700123456")));
    for reply in late {
        let told = [refused("OTP has been used", "code_used"), refused("Too many attempts", "too_many_attempts")];
        assert!(reply.status == 400 && told.contains(&reply.body), "{}", reply.body);
    }
}

async fn the_digits_are_six_whatever_the_project_says(rig: Rig) {
    let other = rig.project(&["--code-length", "4"]);
    let body = json!({ "phone": 256_700_123_456_u64, "uid": UID });
    super::openlyne::call(&rig, &other.live_key, "/send-otp", &body).await.expect(200);
    assert_eq!(rig.code(NUMBER).await.len(), 6);
}
