//! Who a key is believed to be.

use common::otp::channel::Mode;
use common::store::projects::{ApiKey, Project};
use common::tenancy::{AuthError, Directory, Tenant, new_key, new_project_id, new_twilio_key};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::world::{T0, World, at};

crate::scenarios! {
    a_key_says_what_its_tenant_may,
    all_three_kinds_of_key_are_refused_in_each_others_place,
    a_pair_is_refused_when_a_part_of_it_is_wrong,
    revoked_keys_are_refused,
    an_unknown_key_is_not_remembered,
    a_door_acts_for_its_project,
}

async fn kept(world: &World, mode: Mode, own_codes: bool) -> String {
    let (text, row) = new_key(world.id(), mode, own_codes, T0);
    world.store.create_key(&row).await.expect("kept");
    text.expose_secret().to_owned()
}

async fn kept_pair(world: &World, mode: Mode, own_codes: bool) -> (String, SecretString) {
    let (sid, token, row): (_, _, ApiKey) = new_twilio_key(world.id(), mode, own_codes, T0);
    world.store.create_key(&row).await.expect("kept");
    (sid, token)
}

#[track_caller]
fn check(tenant: Result<Tenant, AuthError>, world: &World, mode: Mode, own_codes: bool) {
    let tenant = tenant.expect("a tenant");
    assert_eq!((tenant.id(), tenant.mode, tenant.own_codes), (world.id(), mode, own_codes));
}

#[track_caller]
fn refused(tenant: &Result<Tenant, AuthError>) {
    assert!(matches!(tenant, Err(AuthError::Key)), "{tenant:?}");
}

async fn a_key_says_what_its_tenant_may(world: World) {
    let directory = Directory::new(world.store.clone());
    for (mode, own_codes) in [(Mode::Live, true), (Mode::Live, false), (Mode::Sandbox, true), (Mode::Sandbox, false)] {
        let key = kept(&world, mode, own_codes).await;
        check(directory.authenticate_key(Some(&key)).await, &world, mode, own_codes);
        let (sid, token) = kept_pair(&world, mode, own_codes).await;
        check(directory.authenticate_twilio(&sid, token.expose_secret()).await, &world, mode, own_codes);
    }
}

async fn all_three_kinds_of_key_are_refused_in_each_others_place(world: World) {
    let directory = Directory::new(world.store.clone());
    let (live, sandbox) = (kept(&world, Mode::Live, false).await, kept(&world, Mode::Sandbox, false).await);
    let (sid, token) = kept_pair(&world, Mode::Live, false).await;
    let token = token.expose_secret();
    for key in [&live, &sandbox] {
        let other_kind = match key.strip_prefix("otpd_live_") {
            Some(rest) => format!("otpd_sandbox_{rest}"),
            None => key.replace("otpd_sandbox_", "otpd_live_"),
        };
        refused(&directory.authenticate_key(Some(&other_kind)).await);
        let prefix = key.split('_').nth(2).expect("a prefix");
        for (sid, token) in [(prefix, key.as_str()), (key, key), (key, token), (&sid, key), (prefix, token)] {
            refused(&directory.authenticate_twilio(sid, token).await);
        }
    }
    for text in [
        token.to_owned(),
        format!("{sid}:{token}"),
        format!("otpd_live_{sid}_{token}"),
        format!("otpd_live_{}_{token}{}", &sid[..12], &token[..8]),
    ] {
        refused(&directory.authenticate_key(Some(&text)).await);
    }
    refused(&directory.authenticate_key(None).await);
}

async fn a_pair_is_refused_when_a_part_of_it_is_wrong(world: World) {
    let directory = Directory::new(world.store.clone());
    let (sid, token) = kept_pair(&world, Mode::Live, false).await;
    let (other_sid, other_token) = kept_pair(&world.other_project().await, Mode::Live, false).await;
    refused(&directory.authenticate_twilio(&sid, other_token.expose_secret()).await);
    refused(&directory.authenticate_twilio(&other_sid, token.expose_secret()).await);
    refused(&directory.authenticate_twilio(&format!("AC{}", "0".repeat(32)), token.expose_secret()).await);
    refused(&directory.authenticate_twilio("", "").await);
}

async fn revoked_keys_are_refused(world: World) {
    let (sid, token) = kept_pair(&world, Mode::Live, false).await;
    let key = kept(&world, Mode::Live, false).await;
    for prefix in [sid.as_str(), key.split('_').nth(2).expect("a prefix")] {
        assert!(world.store.revoke_key(prefix, at(1)).await.expect("revoked"));
    }
    let directory = Directory::new(world.store.clone());
    refused(&directory.authenticate_twilio(&sid, token.expose_secret()).await);
    refused(&directory.authenticate_key(Some(&key)).await);
}

async fn an_unknown_key_is_not_remembered(world: World) {
    let directory = Directory::new(world.store.clone());
    let (sid, token, row) = new_twilio_key(world.id(), Mode::Live, false, T0);
    refused(&directory.authenticate_twilio(&sid, token.expose_secret()).await);
    world.store.create_key(&row).await.expect("kept");
    check(directory.authenticate_twilio(&sid, token.expose_secret()).await, &world, Mode::Live, false);
}

async fn a_door_acts_for_its_project(world: World) {
    let directory = Directory::new(world.store.clone());
    let sandbox = Project { id: new_project_id(), sandbox: true, ..world.project.clone() };
    world.store.create_project(&sandbox).await.expect("created");
    for (project, mode) in [(&world.project, Mode::Live), (&sandbox, Mode::Sandbox)] {
        let tenant = directory.door(project.id.as_uuid()).await.expect("an answer").expect("a tenant");
        assert_eq!((tenant.id(), tenant.mode, tenant.own_codes), (project.id, mode, false));
    }
    assert!(directory.door(Uuid::nil()).await.expect("an answer").is_none());
}
