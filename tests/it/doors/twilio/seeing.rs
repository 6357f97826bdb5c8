//! Who sees which verifications: by which name, of which mode, project and door.

use std::time::Duration;

use serde_json::json;

use super::{Account, id_of, judged, refused};
use crate::doors::rig::{Rig, number, rigged};

const ANN: &str = "+14155552671";

rigged!(
    a_verification_goes_by_its_sid_and_by_what_it_went_to,
    v1_and_this_door_see_the_same_ones,
    a_sandbox_account_sees_sandbox_ones_only,
    other_projects_and_other_doors_have_nothing_here,
    codes_of_ones_own_are_for_accounts_that_may_bring_them,
    fallbacks_are_seen_once_they_have_gone_out_and_approve_nobody_else,
);

async fn a_verification_goes_by_its_sid_and_by_what_it_went_to(rig: Rig) {
    let account = Account::live(&rig);
    let sid = account.send_to(ANN).await;
    let capitals = format!("VE{}", sid[2..].to_uppercase());
    for name in [sid.as_str(), &capitals, ANN, "%2B14155552671", "+1%20415%20555%202671", "%2b1(415)555-2671"] {
        assert_eq!(account.fetch(name).await.expect(200).text("sid"), sid, "{name}");
    }
    let address = "ann+shop/2@example.com";
    let sent = account.create(address, "email").await.expect(201);
    for name in ["ann+shop%2F2@example.com", "ann%2Bshop%2F2%40EXAMPLE.com"] {
        assert_eq!(account.fetch(name).await.expect(200).body, sent.body, "{name}");
    }
    // A plus is no space, and a space is no plus.
    for name in ["%2014155552671", "14155552671", "ann%20shop%2F2@example.com", "VE", &sid[..33], "%2B14155552672"] {
        refused(&account.fetch(name).await, 404, 20404);
        refused(&account.update(name, "canceled").await, 404, 20404);
    }
    let service = account.service.to_uppercase();
    let capitals = Account { service, ..Account::live(&rig) };
    assert_eq!(capitals.fetch(ANN).await.expect(200).text("service_sid"), account.service);
}

async fn v1_and_this_door_see_the_same_ones(rig: Rig) {
    let account = Account::live(&rig);
    let (to, other) = (number(1), number(2));
    let sent = rig.client.send(&json!({ "target": to, "channel": "sms" })).await.expect(202);
    let found = account.fetch(&to).await.expect(200);
    assert_eq!(id_of(found.text("sid")), sent.text("recordId"));
    rig.client.clock.advance(Duration::from_secs(31));
    let resent = account.create(&to, "sms").await.expect(201);
    assert_eq!(resent.body["sid"], found.body["sid"]);
    judged(&account.check(&to, &rig.code(&to).await).await, "approved");

    let more = [("To", other.as_str()), ("Channel", "sms"), ("Locale", "de"), ("Tags", "{}"), ("Amount", "3")];
    let sid = account.post("Verifications", &more).await.expect(201).text("sid").to_owned();
    let record = rig.client.record(&id_of(&sid)).await;
    assert_eq!((&record["recordId"], &record["locale"]), (&json!(null), &json!("de")));
    let code = rig.code(&other).await;
    assert_eq!(rig.client.verify(&other, &code).await.expect(200).body["valid"], true);
    refused(&account.check(&other, &code).await, 404, 20404);
}

async fn a_sandbox_account_sees_sandbox_ones_only(rig: Rig) {
    let live = Account::live(&rig);
    let sandbox = Account::of(&rig, &rig.client.project, &["--sandbox"]);
    let (to, other) = (number(1), number(2));
    let sid = live.send_to(&to).await;
    let code = rig.code(&to).await;
    for unseen in [
        sandbox.fetch(&to).await,
        sandbox.fetch(&sid).await,
        sandbox.update(&sid, "canceled").await,
        sandbox.check(&to, &code).await,
        sandbox.check_sid(&sid, &code).await,
    ] {
        refused(&unseen, 404, 20404);
    }
    let played = sandbox.send_to(&other).await;
    let code = rig.client.code(&other).await;
    assert!(rig.stub.arrivals().iter().all(|arrival| arrival.target != other));
    // Its code was in the inbox, and who may send for real is told so.
    assert_eq!(live.fetch(&played).await.expect(200).text("mode"), "sandbox");
    let right = live.check_sid(&played, &code).await;
    judged(&right, "approved");
    assert_eq!(right.text("mode"), "sandbox");

    let rejected = sandbox.create("rejected@sandbox.otpd", "email").await.expect(201);
    rig.client.record_in(&id_of(rejected.text("sid")), &["failed"]).await;
    refused(&live.create("rejected@sandbox.otpd", "email").await, 400, 60200);
    refused(&live.create("+9990000001", "sms").await, 400, 60200);
}

async fn other_projects_and_other_doors_have_nothing_here(rig: Rig) {
    let mine = Account::live(&rig);
    let sid = mine.send_to(ANN).await;
    let code = rig.code(ANN).await;
    let other = Account::of(&rig, &rig.project(&[]), &[]);
    let stranger = Account { service: mine.service.clone(), ..Account::of(&rig, &rig.project(&[]), &[]) };
    for account in [&other, &stranger] {
        refused(&account.fetch(&sid).await, 404, 20404);
        refused(&account.fetch(ANN).await, 404, 20404);
        refused(&account.update(&sid, "canceled").await, 404, 20404);
        refused(&account.check(ANN, &code).await, 404, 20404);
        refused(&account.check_sid(&sid, &code).await, 404, 20404);
    }
    refused(&stranger.create(ANN, "sms").await, 404, 20404);
    judged(&mine.check(ANN, &code).await, "approved");

    let to = number(5);
    let code = rig.logging_in(&to).await;
    let records = rig.client.get("/api/v1/otp/records?recordId=door:login").await.expect(200).body;
    let id = records["records"][0]["id"].as_str().expect("an id");
    let of_door = format!("VE{}", id.replace('-', ""));
    for unseen in [
        mine.fetch(&to).await,
        mine.fetch(&of_door).await,
        mine.update(&of_door, "canceled").await,
        mine.update(&of_door, "approved").await,
        mine.check(&to, &code).await,
        mine.check_sid(&of_door, &code).await,
        mine.post("VerificationCheck", &[("To", &to), ("VerificationSid", &of_door), ("Code", &code)]).await,
    ] {
        refused(&unseen, 404, 20404);
    }
    rig.log_in(&to, &code).await.expect(200);
}

async fn codes_of_ones_own_are_for_accounts_that_may_bring_them(rig: Rig) {
    let bringer = Account::of(&rig, &rig.client.project, &["--own-codes"]);
    let form = [("To", ANN), ("Channel", "sms"), ("CustomCode", "0042")];
    let plain = Account::live(&rig).post("Verifications", &form).await;
    refused(&plain, 403, 60204);
    let empty = [("To", "ann@example.com"), ("Channel", "email"), ("CustomCode", "")];
    Account::live(&rig).post("Verifications", &empty).await.expect(201);
    bringer.post("Verifications", &form).await.expect(201);
    assert_eq!(rig.code(ANN).await, "0042");
    for bad in ["42", "12345678901", "abcd", "12 34"] {
        let form = [("To", ANN), ("Channel", "sms"), ("CustomCode", bad)];
        refused(&bringer.post("Verifications", &form).await, 400, 60200);
    }
    judged(&bringer.check(ANN, "0042").await, "approved");
}

async fn fallbacks_are_seen_once_they_have_gone_out_and_approve_nobody_else(rig: Rig) {
    let (account, mail) = (Account::live(&rig), "ann@example.com");
    let chain = json!([{ "channel": "email", "after": 100, "target": mail }]);
    rig.client.send(&json!({ "target": ANN, "channel": "sms", "fallback": chain })).await.expect(202);
    let code = rig.code(ANN).await;
    let before = account.fetch(ANN).await.expect(200).body;
    let sends = |body: &serde_json::Value| body["send_code_attempts"].as_array().map(Vec::len);
    assert_eq!((&before["channel"], sends(&before)), (&json!("sms"), Some(1)));
    rig.client.clock.advance(Duration::from_secs(100));
    assert_eq!(rig.code(mail).await, code);
    let after = account.fetch(ANN).await.expect(200).body;
    assert_eq!((&after["channel"], sends(&after)), (&json!("email"), Some(2)));
    // Whoever knows it may hold the address and not the number.
    refused(&account.check(ANN, &code).await, 404, 20404);
}
