//! The data directory of an embedded program: the database, its root key, and the lock that keeps servers apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::store::sqlite::SqliteBackend;
use secrecy::{ExposeSecret, SecretString};

use crate::outcome::{Failure, Outcome};

const DATABASE: &str = "otpd.db";
const ROOT_KEY: &str = "root.key";
const LOCK: &str = "lock";

#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

/// Held by the one server of a data directory; gone with the process, however it ends.
#[derive(Debug)]
pub(crate) struct ServerLock(#[expect(dead_code, reason = "the lock is held as long as the file is open")] File);

impl DataDir {
    /// Makes the directory if need be, for its owner alone.
    pub(crate) fn create(path: &Path) -> Outcome<Self> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| Failure::failed(format!("cannot make the data directory {}: {error}", path.display())))?;
        Ok(Self(path.to_owned()))
    }

    /// A directory that a server has made before.
    pub(crate) fn existing(path: &Path) -> Outcome<Self> {
        if !path.join(DATABASE).is_file() {
            let path = path.display();
            return Err(Failure::failed(format!(
                "{path} is no data directory of otpd: it has no {DATABASE}. Start `otpd serve --data {path}` once, which makes it"
            )));
        }
        Ok(Self(path.to_owned()))
    }

    /// Only one server at a time works in a directory.
    pub(crate) fn lock(&self) -> Outcome<ServerLock> {
        let path = self.0.join(LOCK);
        let problem =
            |error: &dyn std::fmt::Display| Failure::failed(format!("cannot lock {}: {error}", path.display()));
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|error| problem(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(ServerLock(file)),
            Err(TryLockError::WouldBlock) => {
                let path = self.0.display();
                Err(Failure::failed(format!(
                    "the data directory {path} is in use by another otpd; stop it or set --data"
                )))
            }
            Err(TryLockError::Error(error)) => Err(problem(&error)),
        }
    }

    pub(crate) async fn open(&self) -> Outcome<SqliteBackend> {
        let path = self.0.join(DATABASE);
        let opened = SqliteBackend::open(&path).await;
        opened.map_err(|error| Failure::failed(format!("cannot open {}: {error}", path.display())))
    }

    /// The root key beside the database; made at the first start.
    pub(crate) fn root_key(&self) -> Outcome<SecretString> {
        let path = self.0.join(ROOT_KEY);
        let problem = |error| Failure::failed(format!("cannot use {}: {error}", path.display()));
        let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        match made {
            Ok(mut file) => {
                let key = new_root_key();
                writeln!(file, "{}", key.expose_secret()).and_then(|()| file.sync_all()).map_err(problem)?;
                Ok(key)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let text = std::fs::read_to_string(&path).map_err(problem)?;
                Ok(SecretString::from(text.trim()))
            }
            Err(error) => Err(problem(error)),
        }
    }

    /// The root key that a server has made here, for commands beside it.
    pub(crate) fn existing_root_key(&self) -> Outcome<SecretString> {
        let path = self.0.join(ROOT_KEY);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let path = path.display();
            Failure::Config(vec![format!("cannot read {path}: {error}; set OTPD_KEYS__ROOT to what the server has")])
        })?;
        Ok(SecretString::from(text.trim()))
    }
}

fn new_root_key() -> SecretString {
    let bytes: [u8; 32] = rand::random();
    SecretString::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
