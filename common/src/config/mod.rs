//! The configuration: defaults, then a file, then the environment, then flags. Every error is reported at once.
//!
//! The only place that reads the environment.

mod doors;
mod merge;
mod routes;
mod sections;
mod show;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

pub use doors::{Door, Doors, Sessions, Supabase, TokenAlgorithm};
pub use routes::{Routed, Routes, Rule, Share};
pub use sections::{
    Keys, Log, LogFormat, PUBLIC_URL_ADVICE, Queue, Relay, Server, StoreSettings, Worker, is_public_url,
};

/// The file that documents every setting; it is compiled in.
pub const DEFAULTS: &str = include_str!("../../../config.default.toml");

/// All settings, each of its own type.
#[derive(Clone)]
pub struct Config {
    pub server: Server,
    pub store: StoreSettings,
    pub queue: Queue,
    pub keys: Keys,
    pub worker: Worker,
    pub relay: Relay,
    pub log: Log,
    pub sessions: Sessions,
    pub doors: Doors,
    pub routes: Routes,
    /// One table a provider; what is in it is the provider's own affair.
    pub providers: BTreeMap<String, Value>,
    tree: Value,
}

/// The tree holds secrets in clear: only the masked view is shown.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show())
    }
}

/// What is wrong with the settings, all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Problems(pub Vec<String>);

/// What a process is about to do, and so which settings it cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One process with SQLite and a queue in memory.
    Embedded,
    /// A process of many, with PostgreSQL and RabbitMQ.
    Distributed,
    /// A command that only needs the store.
    Admin,
}

/// Settings that stand above all others: section, key, value.
pub type Flags = Vec<(&'static str, &'static str, String)>;

impl Config {
    /// Reads defaults, `file`, the environment and `flags`, in rising order.
    ///
    /// # Errors
    /// Everything that is wrong, each problem naming its setting.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, Problems> {
        match Self::examine(file, flags) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(Problems(problems)),
        }
    }

    /// The same, and beside the problems what is left to be looked at further: with the defaults in place of what does
    /// not fit.
    #[must_use]
    pub fn examine(file: Option<&Path>, flags: &Flags) -> (Option<Self>, Vec<String>) {
        Self::from_parts(file, environment(), flags)
    }

    fn from_parts(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> (Option<Self>, Vec<String>) {
        let defaults = match merge::parse_toml(DEFAULTS) {
            Ok(defaults) => defaults,
            Err(problem) => return (None, vec![problem]),
        };
        let mut merged = merge::Merged::new(defaults.clone());
        if let Some(file) = file {
            merged.add_file(file);
        }
        for (name, value) in environment {
            if let Some((section, key)) = name.strip_prefix("OTPD_").and_then(|rest| rest.split_once("__")) {
                let path = format!("{section}.{}", key.replace("__", ".")).to_lowercase();
                merged.set_text(&path, &value, &name);
            }
        }
        for (section, key, value) in flags {
            merged.set_text(&format!("{section}.{key}"), value, &format!("--{}", key.replace('_', "-")));
        }
        let (tree, mut problems) = merged.finish();
        let config = Self::read(&tree, &defaults, &mut problems);
        problems.extend(config.iter().flat_map(Self::validate));
        (config, problems)
    }

    fn read(tree: &Value, defaults: &Value, problems: &mut Vec<String>) -> Option<Self> {
        let reader = merge::Sections { tree, defaults };
        let server = reader.section("server", problems);
        let store = reader.section("store", problems);
        let queue = reader.section("queue", problems);
        let keys = reader.section("keys", problems);
        let worker = reader.section("worker", problems);
        let relay = reader.section("relay", problems);
        let log = reader.section("log", problems);
        let sessions = reader.section("sessions", problems);
        let doors = reader.section("doors", problems);
        let routes = reader.section("routes", problems);
        let providers = tree.get("providers").and_then(Value::as_object).into_iter().flatten();
        Some(Self {
            server: server?,
            store: store?,
            queue: queue?,
            keys: keys?,
            worker: worker?,
            relay: relay?,
            log: log?,
            sessions: sessions?,
            doors: doors?,
            routes: routes?,
            providers: providers.map(|(name, value)| (name.clone(), value.clone())).collect(),
            tree: tree.clone(),
        })
    }

    fn validate(&self) -> Vec<String> {
        let mut problems = self.server.validate();
        problems.extend(self.store.validate());
        problems.extend(self.queue.validate());
        problems.extend(self.keys.validate());
        problems.extend(self.worker.validate());
        problems.extend(self.relay.validate());
        problems.extend(self.log.validate());
        problems.extend(self.routes.validate());
        problems.extend(self.sessions.validate());
        problems.extend(self.doors.validate());
        problems
    }

    /// Settings that this role cannot do without and that are missing.
    #[must_use]
    pub fn missing_for(&self, role: Role) -> Vec<String> {
        let need = |is_missing: bool, what: &str| is_missing.then(|| what.to_owned());
        let store = need(
            role != Role::Embedded && self.store.url.is_empty(),
            "store.url is missing: set OTPD_STORE__URL to postgres://user:password@host:5432/database",
        );
        let queue = need(
            role == Role::Distributed && self.queue.url.is_empty(),
            "queue.url is missing: set OTPD_QUEUE__URL to amqp://user:password@host:5672/%2f",
        );
        let root = need(
            role == Role::Distributed && self.keys.root().is_none(),
            "keys.root is missing: set OTPD_KEYS__ROOT to 32 bytes in hexadecimal (openssl rand -hex 32)",
        );
        [store, queue, root].into_iter().flatten().collect()
    }

    /// Every setting as a line of TOML, secrets masked.
    #[must_use]
    pub fn show(&self) -> String {
        show::show(&self.tree)
    }
}

/// The variables of this process, for settings and for the names that vendors usually give their credentials.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    let variables = std::env::vars_os();
    variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, Problems> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        match Config::from_parts(None, environment, &Vec::new()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(Problems(problems)),
        }
    }

    #[test]
    fn the_defaults_are_sound() {
        let config = load(&[]).expect("defaults");
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert!(config.missing_for(Role::Embedded).is_empty());
        assert_eq!(config.missing_for(Role::Distributed).len(), 3);
        assert_eq!(config.worker.provider_check_every().map(|every| every.as_secs()), Some(300));
    }

    #[test]
    fn the_environment_overrides_and_keeps_digits_as_they_are() {
        let config = load(&[
            ("OTPD_SERVER__LISTEN", "0.0.0.0:1"),
            ("OTPD_WORKER__CONCURRENCY", "7"),
            ("OTPD_ROUTES__SMS", "a, b"),
            ("OTPD_PROVIDERS__TWILIO__AUTH_TOKEN", "000123"),
            ("OTPD_RELAY__ENABLED", "false"),
            ("OTPD_WORKER__PROVIDER_CHECK_EVERY_S", "0"),
            ("UNRELATED", "x"),
        ])
        .expect("config");
        assert_eq!(config.server.listen.port(), 1);
        assert_eq!(config.worker.concurrency, 7);
        assert_eq!(config.routes.names().map(|(_, name)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(!config.relay.enabled);
        assert_eq!(config.worker.provider_check_every(), None, "switched off");
        assert_eq!(config.providers["twilio"]["auth_token"], "000123");
    }

    #[test]
    fn every_error_is_reported_at_once() {
        let Problems(problems) = load(&[
            ("OTPD_SERVER__LISTEN", "nonsense"),
            ("OTPD_SERVER__ADMIN_LISTEN", "more"),
            ("OTPD_WORKER__CONCURRENCY", "many"),
            ("OTPD_KEYS__ROOT", "abc"),
            ("OTPD_LOG__FORMAT", "xml"),
            ("OTPD_SERVER__LISTN", "127.0.0.1:1"),
            ("OTPD_RELAY__INTERVAL_MS", "1"),
            ("OTPD_DOORS__SUPABASE__SECRETS", "[5]"),
        ])
        .expect_err("problems");
        for name in [
            "SERVER__LISTEN",
            "SERVER__ADMIN_LISTEN",
            "WORKER__CONCURRENCY",
            "log.format",
            "SERVER__LISTN",
            // A range is looked at although types are wrong elsewhere.
            "relay.interval_ms must be 10 to 60000",
            "doors.supabase.secrets: must be text",
        ] {
            let named = problems.iter().any(|problem| {
                problem.to_lowercase().contains(&name.to_lowercase().replace("__", ".")) || problem.contains(name)
            });
            assert!(named, "{name} in {problems:#?}");
        }
    }

    #[test]
    fn no_problem_repeats_what_stands_there() {
        let Problems(problems) = load(&[
            ("OTPD_DOORS__SUPABASE__SECRETS", "[\"verysecret\""),
            ("OTPD_KEYS__ROOT", "verysecret"),
            ("OTPD_KEYS__PREVIOUS", "verysecret"),
            ("OTPD_LOG__FORMAT", "verysecret"),
        ])
        .expect_err("problems");
        assert!(problems.len() >= 4 && !problems.join("\n").contains("verysecret"), "{problems:#?}");
        let file = std::env::temp_dir().join(format!("otpd-config-{}.toml", uuid::Uuid::now_v7()));
        std::fs::write(&file, "[keys]\nprevious = \"verysecret\"\n[doors.supabase]\nsecrets = \"verysecret\"\n")
            .expect("file");
        let (_, problems) = Config::from_parts(Some(&file), [], &Vec::new());
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(problems, ["keys.previous: must be a list", "doors.supabase.secrets: must be a list"]);
    }

    #[test]
    fn shown_settings_hide_secrets() {
        let config = load(&[
            ("OTPD_KEYS__ROOT", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ("OTPD_STORE__URL", "postgres://otpd:hunter2@db:5432/otpd"),
            ("OTPD_PROVIDERS__TWILIO__AUTH_TOKEN", "swordfish"),
            ("OTPD_PROVIDERS__LOCAL__SECRETS__ACCOUNT", "open sesame"),
        ])
        .expect("config");
        let shown = config.show();
        assert!(shown.contains("store.url = \"postgres://otpd:***@db:5432/otpd\""), "{shown}");
        for secret in ["hunter2", "swordfish", "aaaaaaaa", "open sesame"] {
            assert!(!shown.contains(secret), "{shown}");
            assert!(!format!("{config:?}").contains(secret));
        }
    }
}
