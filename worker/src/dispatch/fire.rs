//! Firing a fallback: what guards its target is found out here, and one claim takes limits, token and attempt together.

use common::otp::channel::Mode;
use common::otp::claim::{Claimed, Unclaimed};
use common::otp::fire::{Fire, TargetLimit};
use common::otp::ids::DispatchId;
use common::otp::rows::{Dispatch, Verification};
use common::otp::target::{Strictness, Target};
use tracing::{error, info};

use super::{Ended, Worker};
use crate::telemetry;

impl Worker {
    /// Claims the first attempt of a fallback that waits, if it is its turn.
    pub(super) async fn fire(&self, id: DispatchId) -> Result<Result<Claimed, Unclaimed>, Ended> {
        let store = &self.inner.parts.store;
        let stopping = || self.inner.parts.stop.is_cancelled();
        let found = self.insist("find", stopping, || async move { Ok(store.find_dispatch(id).await?) }).await?;
        let Some((dispatch, verification)) = found else { return Ok(Err(Unclaimed::Unknown)) };
        let limit = match self.target_limit(&dispatch, &verification).await {
            Ok(limit) => limit,
            Err(reason) => {
                error!(otp.dispatch = %id, reason, "a fallback cannot be made ready; the relay will bring it again");
                return Ok(Err(Unclaimed::Waiting));
            }
        };
        let fire = Fire { dispatch: id, lease: self.lease(), limit };
        let answer = self.insist("fire", stopping, || self.inner.fires.call(fire.clone())).await?;
        if let Ok(Claimed { dispatch, .. }) = &answer
            && let Some(fired) = dispatch.fallback.and_then(|fallback| fallback.fired)
        {
            let (channel, because) = (dispatch.channel.as_str(), fired.as_str());
            telemetry::fired(channel, because);
            info!(otp.dispatch = %id, channel, because, "a fallback goes out");
        }
        Ok(answer)
    }

    /// The windows that a fallback moves; `None` where its target is free of them.
    async fn target_limit(
        &self,
        dispatch: &Dispatch,
        verification: &Verification,
    ) -> Result<Option<TargetLimit>, String> {
        let parts = &self.inner.parts;
        let project = parts.directory.project(dispatch.project).await.map_err(|error| error.to_string())?;
        let project = project.ok_or("its project is gone")?;
        let target = self.target(dispatch, verification).await.map_err(|error| error.to_string())?;
        let target = target.ok_or("its target has been forgotten")?;
        let target = canonical(dispatch, target);
        let is_test = || project.sandbox && project.settings.test_code(target.canonical(), self.now()).is_some();
        if dispatch.mode == Mode::Sandbox && (target.is_magic() || is_test()) {
            return Ok(None);
        }
        let [cooldown, hour, day] = project.settings.target_windows();
        let has_pace = dispatch.target.is_none() || self.has_gone_to(&target, dispatch, verification).await?;
        let cooldown = (!has_pace).then_some(cooldown);
        let key = parts.vault.keys().target_limit(dispatch.project, dispatch.mode, target.canonical());
        Ok(Some(TargetLimit { key, windows: [cooldown, Some(hour), Some(day)] }))
    }

    /// Whether an earlier fallback of its chain went to the same target of its own, and took its cooldown: from then on the
    /// chain has a pace of its own there too.
    async fn has_gone_to(
        &self,
        target: &Target,
        dispatch: &Dispatch,
        verification: &Verification,
    ) -> Result<bool, String> {
        let first = dispatch.fallback.map_or(dispatch.id.n, |fallback| fallback.first);
        for n in first + 1..dispatch.id.n {
            let found = self.inner.parts.store.find_dispatch(DispatchId { n, ..dispatch.id }).await;
            let found = found.map_err(|error| error.to_string())?.map(|(found, _)| found);
            let Some(before) = found.filter(|before| before.target.is_some() && before.has_fired()) else { continue };
            let gone_to = self.target(&before, verification).await.map_err(|error| error.to_string())?;
            if gone_to.is_some_and(|gone_to| canonical(&before, gone_to).canonical() == target.canonical()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Stored is what is delivered to; limits want the canonical form.
fn canonical(dispatch: &Dispatch, target: Target) -> Target {
    Target::parse(dispatch.channel, target.delivered(), None, Strictness::Canonical).unwrap_or(target)
}
