//! `otpd key`: API keys, and pairs for clients of Twilio. A key is shown when it is made and kept only as a hash.

use clap::{Args, Subcommand};
use common::otp::channel::Mode;
use common::otp::ids::ProjectId;
use common::otp::time::Timestamp;
use common::store::Store;
use common::tenancy;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Admin, project};
use crate::outcome::{Failure, Outcome, say};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key, which is shown this once
    Create(Create),
    /// List a project's keys
    List(List),
    /// Revoke a key; running processes follow within two seconds
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    admin: Admin,
    /// The project's id, as PRJ_…
    #[arg(long)]
    project: String,
    /// A sandbox key instead of a live one
    #[arg(long)]
    sandbox: bool,
    /// A key that may bring codes of its caller's own
    #[arg(long)]
    own_codes: bool,
    /// An account SID and auth token, for clients of Twilio Verify, instead of a key
    #[arg(long)]
    twilio: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    admin: Admin,
    /// The project's id, as PRJ_…
    #[arg(long)]
    project: String,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    admin: Admin,
    /// The key's prefix or account SID, as `otpd key list` shows it, or the whole key
    key: String,
}

impl KeyCommand {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Create(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Revoke(command) => command.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Outcome {
        let store = self.admin.store().await?;
        let project = project::find(&store, &self.project).await?;
        if project.sandbox && !self.sandbox {
            return Err(Failure::Usage(format!(
                "{} is a sandbox project: it has sandbox keys only (--sandbox)",
                project.id
            )));
        }
        let mode = if self.sandbox { Mode::Sandbox } else { Mode::Live };
        if self.twilio {
            return self.create_pair(&store, project.id, mode).await;
        }
        let (text, row) = tenancy::new_key(project.id, mode, self.own_codes, store.now().await?);
        store.create_key(&row).await?;
        let (key, prefix) = (text.expose_secret(), row.prefix);
        if self.admin.json {
            say(json!({
                "key": key,
                "prefix": prefix,
                "kind": mode.as_str(),
                "own_codes": row.own_codes,
                "project_id": project.id.to_string(),
            }));
        } else {
            say(key);
        }
        Ok(())
    }

    async fn create_pair(&self, store: &Store, project: ProjectId, mode: Mode) -> Outcome {
        let (account_sid, token, row) = tenancy::new_twilio_key(project, mode, self.own_codes, store.now().await?);
        store.create_key(&row).await?;
        let (auth_token, service_sid) = (token.expose_secret(), project.service_sid());
        if self.admin.json {
            say(json!({ "account_sid": account_sid, "auth_token": auth_token, "service_sid": service_sid }));
        } else {
            say(format!("account SID {account_sid}"));
            say(format!("auth token  {auth_token}"));
            say(format!("service SID {service_sid}"));
            say("The auth token is shown this once; it is kept only as a hash.");
        }
        Ok(())
    }
}

impl List {
    async fn run(self) -> Outcome {
        let store = self.admin.store().await?;
        let project = project::find(&store, &self.project).await?;
        let keys = store.list_keys(project.id).await?;
        if self.admin.json {
            let shown = keys.iter().map(|key| {
                json!({
                    "prefix": key.prefix,
                    "kind": key.mode.as_str(),
                    "own_codes": key.own_codes,
                    "created_at": key.created.rfc3339(),
                    "revoked_at": key.revoked.map(Timestamp::rfc3339),
                })
            });
            say(Value::from(shown.collect::<Vec<_>>()));
            return Ok(());
        }
        for key in keys {
            let state = key.revoked.map_or("active".to_owned(), |at| format!("revoked {}", at.rfc3339()));
            let own_codes = if key.own_codes { "  own codes" } else { "" };
            say(format!("{:34}  {:7}  {}  {state}{own_codes}", key.prefix, key.mode.as_str(), key.created.rfc3339()));
        }
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> Outcome {
        let store = self.admin.store().await?;
        let prefix = self.key.split('_').nth(2).unwrap_or(&self.key);
        if !store.revoke_key(prefix, store.now().await?).await? {
            return Err(Failure::failed(format!("there is no active key {prefix}; `otpd key list` shows them")));
        }
        if self.admin.json {
            say(json!({ "revoked": true, "prefix": prefix }));
        } else {
            say(format!("revoked {prefix}"));
        }
        Ok(())
    }
}
