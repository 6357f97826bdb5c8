//! Finding the verification that a call of the Twilio door is about.

use common::keys::IndexKind;
use common::otp::guess::{DOOR_PREFIX, Wanted};
use common::otp::ids::VerificationId;
use common::otp::target::Target;
use common::store::records::Timeline;

use super::account::Account;
use super::errors::unknown;
use super::render::parse_sid;
use crate::core::Api;
use crate::error::ApiError;

/// The verification that the path names, by its sid or by what its code went to.
pub(super) async fn named(api: &Api, account: &Account) -> Result<Timeline, ApiError> {
    let text = account.named.as_deref().unwrap_or_default();
    let id = match parse_sid(text) {
        Some(id) => id,
        None => newest_of(api, account, text).await?.ok_or_else(unknown)?,
    };
    by_id(api, account, id).await
}

async fn newest_of(api: &Api, account: &Account, to: &str) -> Result<Option<VerificationId>, ApiError> {
    let Ok(target) = Target::guess(to, None) else { return Ok(None) };
    let project = account.tenant.id();
    let (id, keys) = (project.as_uuid(), api.parts.vault.keys());
    let target = keys.indexes(IndexKind::Target, &[id.as_bytes(), target.canonical().as_bytes()]);
    let wanted = Wanted { project, modes: account.tenant.mode.visible(), target: &target, record: None };
    Ok(api.parts.store.newest(api.parts.clock.now(), &wanted).await?)
}

/// A verification that these credentials may see.
pub(super) async fn by_id(api: &Api, account: &Account, id: VerificationId) -> Result<Timeline, ApiError> {
    let tenant = &account.tenant;
    let found = api.parts.store.timeline(tenant.id(), tenant.mode.visible(), id).await?;
    found.filter(|found| !found.verification.record.starts_with(DOOR_PREFIX)).ok_or_else(unknown)
}

/// What the code of a verification went to, so that a guess that names its sid alone meets the same limits. `named` is what
/// the caller says it is.
pub(super) async fn target_of(
    api: &Api,
    account: &Account,
    id: VerificationId,
    named: Option<Target>,
) -> Result<Target, ApiError> {
    let found = by_id(api, account, id).await?;
    match named {
        Some(target) => Ok(target),
        None => open(api, account, &found).await?.ok_or_else(unknown),
    }
}

pub(super) async fn open(api: &Api, account: &Account, found: &Timeline) -> Result<Option<Target>, ApiError> {
    let verification = &found.verification;
    let (sealed, country) = (&verification.target, verification.country.clone());
    let target = api.parts.vault.open_target(account.tenant.id(), verification.id, sealed, country).await?;
    // Stored is what was delivered to; limits and look-ups want the canonical form.
    Ok(target.and_then(|target| Target::guess(target.delivered(), None).ok()))
}
