//! The sandbox inbox: messages that went to nobody, sealed in the store for the API to show.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::batch::Batcher;
use common::clock::Clock;
use common::keys::{IndexKind, KeyError, Keyring};
use common::otp::rows::Index;
use common::otp::target::{Strictness, Target};
use common::otp::time::Timestamp;
use common::store::Store;
use common::store::records::SandboxMessage;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use uuid::{NoContext, Uuid};

use crate::Message;

/// Where sandbox messages are kept.
#[async_trait]
pub trait Inbox: fmt::Debug + Send + Sync {
    /// Keeps a message; it is safe when this returns.
    ///
    /// # Errors
    /// Why it could not be kept, for an operator.
    async fn keep(&self, message: &Message) -> Result<(), String>;
}

/// What the store holds sealed of a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedMessage {
    pub target: String,
    pub code: String,
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
}

/// It shows nothing of the message.
impl fmt::Debug for OpenedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedMessage({} bytes of text)", self.text.len())
    }
}

/// What a sandbox message says.
///
/// # Errors
/// When no listed root key opens it.
pub fn open_message(keys: &Keyring, message: &SandboxMessage) -> Result<OpenedMessage, KeyError> {
    let plain = keys.open(&context(message.id), &message.sealed)?;
    serde_json::from_slice(&plain).map_err(|_| KeyError::CannotOpen)
}

/// The inbox in the store. Bursts go together.
#[derive(Debug)]
pub struct StoreInbox {
    keys: Arc<Keyring>,
    clock: Clock,
    keep: Batcher<SandboxMessage, ()>,
}

impl StoreInbox {
    /// Starts the writing of batches on `tasks`.
    #[must_use]
    pub fn start(store: Store, keys: Arc<Keyring>, clock: Clock, tasks: &TaskTracker) -> Self {
        let keep = Batcher::start("keep_message", tasks, move |batch: Arc<[SandboxMessage]>| {
            let store = store.clone();
            async move { store.keep_messages(&batch).await.map(|()| vec![(); batch.len()]) }
        });
        Self { keys, clock, keep }
    }
}

#[async_trait]
impl Inbox for StoreInbox {
    async fn keep(&self, message: &Message) -> Result<(), String> {
        let sealed = seal(&self.keys, self.clock.now(), message).map_err(|error| error.to_string())?;
        self.keep.call(sealed).await.map_err(|error| error.to_string())
    }
}

fn seal(keys: &Keyring, now: Timestamp, message: &Message) -> Result<SandboxMessage, KeyError> {
    let id = new_id(now);
    let opened = OpenedMessage {
        target: message.target.delivered().to_owned(),
        code: message.code.reveal().to_owned(),
        subject: message.content.subject.clone(),
        text: message.content.text.clone(),
        html: message.content.html.clone(),
    };
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(&opened).map_err(|_| KeyError::CannotSeal)?);
    Ok(SandboxMessage {
        id,
        project: message.project,
        mode: message.mode,
        channel: message.channel,
        target: target_index(keys, message),
        sealed: keys.seal(&context(id), &plain)?,
        created: now,
    })
}

/// The index that a look-up by target computes. A target that comes from the store is as it was written, so it is read
/// anew.
fn target_index(keys: &Keyring, message: &Message) -> Index {
    let read = Target::parse(message.channel, message.target.delivered(), None, Strictness::Canonical);
    let canonical = read.as_ref().unwrap_or(&message.target).canonical();
    keys.indexes(IndexKind::Target, &[message.project.as_uuid().as_bytes(), canonical.as_bytes()]).newest
}

fn new_id(now: Timestamp) -> Uuid {
    let ms = u64::try_from(now.as_ms()).unwrap_or(0);
    let nanos = u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, ms / 1000, nanos))
}

fn context(id: Uuid) -> Vec<u8> {
    [b"sandbox message".as_slice(), id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{email, email_to};
    use secrecy::SecretString;

    fn keys() -> Keyring {
        Keyring::new(&SecretString::from("07".repeat(32)), &[]).expect("keys")
    }

    #[test]
    fn a_kept_message_opens_for_itself_alone() {
        let (keys, now) = (keys(), Timestamp::from_ms(1_752_402_600_000));
        let mut kept = seal(&keys, now, &email()).expect("sealed");
        let opened = open_message(&keys, &kept).expect("opened");
        assert_eq!((opened.target.as_str(), opened.code.as_str()), ("Ann@example.com", "482913"));
        assert_eq!(opened.html.as_deref(), Some("<p>Your code is <b>482913</b></p>"));
        assert!(!format!("{opened:?}{kept:?}").contains("482913"));
        assert_eq!(kept.id.get_timestamp().map(|at| at.to_unix()), Some((1_752_402_600, 0)));
        kept.id = new_id(now);
        assert!(open_message(&keys, &kept).is_err());
    }

    #[test]
    fn a_message_is_found_by_its_canonical_target_however_it_was_stored() {
        let keys = keys();
        let mut message = email_to("Ann@Bücher.example");
        let parsed = target_index(&keys, &message);
        message.target = Target::from_stored("Ann@Bücher.example".to_owned(), None);
        assert_eq!(target_index(&keys, &message), parsed);
        let canonical = b"ann@xn--bcher-kva.example".as_slice();
        let looked_up = keys.indexes(IndexKind::Target, &[message.project.as_uuid().as_bytes(), canonical]);
        assert_eq!(parsed, looked_up.newest);
    }
}
