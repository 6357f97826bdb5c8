//! `otpd session`: the keys that sign the tokens of people who have logged in.

use clap::{Args, Subcommand};
use common::config::Flags;
use common::keys::Keyring;
use common::otp::time::Timestamp;
use common::session_keys::{self, ANNOUNCED, KeyState};
use common::store::sessions::SessionKey;
use serde_json::{Value, json};

use super::Admin;
use crate::assemble::{admin_keys, admin_store};
use crate::outcome::{Failure, Outcome, say};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List or rotate the keys that sign tokens
    #[command(subcommand)]
    Keys(KeysCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// List the keys, the one that signs last first
    List(Admin),
    /// Make a new key, which signs in ten minutes: by then everyone who keeps the published keys has it
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    admin: Admin,
    /// The new key signs at once; who keeps the published keys may refuse its tokens for a while
    #[arg(long)]
    now: bool,
    /// The new key signs at once and all others are void: whatever they have signed is refused
    #[arg(long)]
    compromised: bool,
}

impl SessionCommand {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Keys(KeysCommand::List(admin)) => list(&admin).await,
            Self::Keys(KeysCommand::Rotate(command)) => command.run().await,
        }
    }
}

async fn list(admin: &Admin) -> Outcome {
    let store = admin.store().await?;
    let (keys, now) = (store.session_keys().await?, store.now().await?);
    if admin.json {
        say(in_json(&keys, now));
    } else {
        keys.iter().for_each(|key| say(in_words(&keys, key, now)));
    }
    Ok(())
}

impl Rotate {
    async fn run(self) -> Outcome {
        let config = self.admin.common.load(&Flags::new())?;
        let store = admin_store(&config, self.admin.data.as_ref()).await?;
        let ring = admin_keys(&config, self.admin.data.as_ref())?;
        let (before, now) = (store.session_keys().await?, store.now().await?);
        if !self.compromised {
            check_root(&ring, &before)?;
        }
        // Without a key that signs there is nobody who could be surprised by another one.
        let at_once = self.now || self.compromised || session_keys::signing(&before, now).is_none();
        let signs_from = if at_once { now } else { now + ANNOUNCED };
        let key = session_keys::generate(&ring, signs_from, now).map_err(Failure::failed)?;
        store.add_session_key(&key).await?;
        // Only now, so that there always is a key that signs.
        let revoked = if self.compromised { store.revoke_session_keys(&key.kid, now).await? } else { 0 };
        self.tell(&key, revoked, &store.session_keys().await?, now);
        Ok(())
    }

    fn tell(&self, new: &SessionKey, revoked: u64, all: &[SessionKey], now: Timestamp) {
        if self.admin.json {
            say(json!({
                "kid": new.kid,
                "signs_from": new.signs_from.rfc3339(),
                "revoked": revoked,
                "keys": in_json(all, now),
            }));
            return;
        }
        let when = if new.signs_from <= now {
            "signs at once".to_owned()
        } else {
            format!("signs from {}", new.signs_from.rfc3339())
        };
        say(format!("made {}, which {when}", new.kid));
        if self.compromised {
            say(format!("made void: {revoked}"));
        }
        session_keys::published(all, now).iter().for_each(|key| say(in_words(all, key, now)));
    }
}

/// Keys that none of these roots opens would leave the servers without one that they can sign with.
fn check_root(ring: &Keyring, keys: &[SessionKey]) -> Outcome {
    let mut living = keys.iter().filter(|key| key.revoked.is_none()).peekable();
    if living.peek().is_some() && living.all(|key| session_keys::open(ring, key).is_err()) {
        let problem = "keys.root is not the one that the signing keys are under: set OTPD_KEYS__ROOT to what the \
                       servers have; if that is lost, --compromised starts anew";
        return Err(Failure::Config(vec![problem.to_owned()]));
    }
    Ok(())
}

fn in_words(all: &[SessionKey], key: &SessionKey, now: Timestamp) -> String {
    let state = session_keys::state(all, &key.kid, now);
    let (signs_from, created) = (key.signs_from.rfc3339(), key.created.rfc3339());
    format!("{}  {:8}  signs from {signs_from}  made {created}", key.kid, state.as_str())
}

fn in_json(all: &[SessionKey], now: Timestamp) -> Value {
    let shown = all.iter().map(|key| {
        let state: KeyState = session_keys::state(all, &key.kid, now);
        json!({
            "kid": key.kid,
            "state": state.as_str(),
            "signs_from": key.signs_from.rfc3339(),
            "created_at": key.created.rfc3339(),
            "revoked_at": key.revoked.map(Timestamp::rfc3339),
        })
    });
    shown.collect::<Vec<_>>().into()
}
