//! The vault: day keys by project, made when first needed, remembered for a while, gone when shredded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use moka::future::Cache;
use zeroize::Zeroizing;

use crate::keys::{DayKey, KeyError, Keyring};
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::Sealed;
use crate::otp::target::Target;
use crate::store::{Store, StoreError};

/// Keys are kept in memory so long at most after they have been shredded.
const CACHED: Duration = Duration::from_secs(600);
const CACHE_SIZE: u64 = 10_000;

#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Key(String),
}

impl From<KeyError> for VaultError {
    fn from(error: KeyError) -> Self {
        Self::Key(error.to_string())
    }
}

#[derive(Clone)]
pub struct Vault {
    store: Store,
    keys: Arc<Keyring>,
    days: Cache<(ProjectId, i64), Arc<DayKey>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({:?})", self.keys)
    }
}

impl Vault {
    #[must_use]
    pub fn new(store: Store, keys: Arc<Keyring>) -> Self {
        let days = Cache::builder().max_capacity(CACHE_SIZE).time_to_live(CACHED).build();
        Self { store, keys, days }
    }

    #[must_use]
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// The key for what is opened on the day of `id`, made now if it is the first of that day.
    ///
    /// # Errors
    /// When the store is away or the stored key is under an unknown root.
    pub async fn day_key(&self, project: ProjectId, id: VerificationId) -> Result<Arc<DayKey>, VaultError> {
        let day = id.created().day();
        let make = async {
            if let Some(sealed) = self.store.find_day_key(project, day).await? {
                return self.unwrap(project, day, &sealed);
            }
            let mut secret = Zeroizing::new([0_u8; 32]);
            fill(&mut *secret).map_err(|_| VaultError::Key("the system gives no random bytes".to_owned()))?;
            let sealed = self.keys.seal(&context(project, day), &*secret)?;
            let kept = self.store.create_day_key(project, day, &sealed).await?;
            self.unwrap(project, day, &kept)
        };
        let made = self.days.try_get_with((project, day), make).await;
        made.map_err(|error: Arc<VaultError>| (*error).clone())
    }

    /// The key of that day if it still exists.
    ///
    /// # Errors
    /// As [`Self::day_key`].
    pub async fn old_day_key(&self, project: ProjectId, id: VerificationId) -> Result<Option<Arc<DayKey>>, VaultError> {
        let day = id.created().day();
        if let Some(key) = self.days.get(&(project, day)).await {
            return Ok(Some(key));
        }
        let Some(sealed) = self.store.find_day_key(project, day).await? else { return Ok(None) };
        let key = self.unwrap(project, day, &sealed)?;
        self.days.insert((project, day), Arc::clone(&key)).await;
        Ok(Some(key))
    }

    /// A stored target; `None` when it has been erased or forgotten.
    ///
    /// # Errors
    /// As [`Self::day_key`].
    pub async fn open_target(
        &self,
        project: ProjectId,
        id: VerificationId,
        sealed: &Sealed,
        country: Option<String>,
    ) -> Result<Option<Target>, VaultError> {
        if sealed.0.is_empty() {
            return Ok(None);
        }
        let Some(key) = self.old_day_key(project, id).await? else { return Ok(None) };
        Ok(Some(Target::from_stored(key.open_target(id, sealed)?, country)))
    }

    fn unwrap(&self, project: ProjectId, day: i64, sealed: &Sealed) -> Result<Arc<DayKey>, VaultError> {
        let secret = self.keys.open(&context(project, day), sealed)?;
        Ok(Arc::new(DayKey::new(&secret)?))
    }
}

fn context(project: ProjectId, day: i64) -> Vec<u8> {
    [b"day key".as_slice(), project.as_uuid().as_bytes(), &day.to_be_bytes()].concat()
}
