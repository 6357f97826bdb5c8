//! One struct a concern. Their doc comments are in config.default.toml, beside the defaults.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::keys::Keyring;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    public_url: String,
    shutdown_grace_s: u64,
    trusted_proxies: Vec<String>,
}

impl Server {
    /// Without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> Option<&str> {
        Some(self.public_url.trim_end_matches('/')).filter(|url| !url.is_empty())
    }

    #[must_use]
    pub const fn shutdown_grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_s)
    }

    /// Networks whose `X-Forwarded-For` is believed.
    #[must_use]
    pub fn trusted_proxies(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().filter_map(|network| parse_network(network)).collect()
    }

    pub(super) fn validate(&self) -> Vec<String> {
        let networks = self.trusted_proxies.iter().filter(|network| parse_network(network).is_none());
        let networks = networks
            .map(|network| format!("server.trusted_proxies: {network:?} is no address or network such as 10.0.0.0/8"));
        let url = (!self.public_url.is_empty() && !is_public_url(&self.public_url))
            .then(|| format!("server.public_url: {PUBLIC_URL_ADVICE}"));
        let grace = outside("server.shutdown_grace_s", self.shutdown_grace_s, 1, 3600);
        [url, grace].into_iter().flatten().chain(networks).collect()
    }
}

/// What is said of a public URL that is none.
pub const PUBLIC_URL_ADVICE: &str = "must be a URL such as https://otp.example.com (http:// will do too), with a host and \
                                     without user, query and fragment";

/// Whether paths can be appended to it, as to the address of receipts.
#[must_use]
pub fn is_public_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_fit = |part: &str| !part.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@\\\"<>".contains(c));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '[', ']', ',']) && !host.starts_with('.'),
    };
    is_fit(authority) && is_fit(path) && is_port && is_host
}

/// A network, or an address as the network of that one.
fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    pub url: String,
    pub max_connections: u32,
    acquire_timeout_ms: u64,
}

impl std::fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreSettings({})", super::show::mask_url(&self.url))
    }
}

impl StoreSettings {
    #[must_use]
    pub const fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    pub(super) fn validate(&self) -> Vec<String> {
        let scheme = self.url.starts_with("postgres://") || self.url.starts_with("postgresql://");
        // Without a user, the driver would log in as "anonymous".
        let user = self.url.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
        let is_whole = self.url.is_empty() || (scheme && user);
        let url = (!is_whole)
            .then(|| "store.url must be postgres://user:password@host:5432/database, the user included".to_owned());
        let connections = outside("store.max_connections", self.max_connections.into(), 5, 1000);
        let timeout = outside("store.acquire_timeout_ms", self.acquire_timeout_ms, 100, 60_000);
        [url, connections, timeout].into_iter().flatten().collect()
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    pub url: String,
    pub prefix: String,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({}, {})", super::show::mask_url(&self.url), self.prefix)
    }
}

impl Queue {
    pub(super) fn validate(&self) -> Vec<String> {
        let scheme = self.url.starts_with("amqp://") || self.url.starts_with("amqps://");
        let url = (!self.url.is_empty() && !scheme)
            .then(|| "queue.url must be amqp://user:password@host:5672/%2f, or amqps://".to_owned());
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let prefix = (self.prefix.is_empty() || self.prefix.len() > 100 || !self.prefix.bytes().all(is_name))
            .then(|| "queue.prefix must be 1 to 100 letters, digits, dots, dashes or underscores".to_owned());
        [url, prefix].into_iter().flatten().collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    root: SecretString,
    previous: Vec<SecretString>,
}

impl Keys {
    #[must_use]
    pub fn root(&self) -> Option<&SecretString> {
        Some(&self.root).filter(|root| !root.expose_secret().is_empty())
    }

    #[must_use]
    pub fn previous(&self) -> &[SecretString] {
        &self.previous
    }

    pub(super) fn validate(&self) -> Vec<String> {
        let problem =
            |(name, key): (String, &SecretString)| Keyring::new(key, &[]).err().map(|error| format!("{name} {error}"));
        let root = self.root().map(|root| ("keys.root".to_owned(), root));
        let previous = self.previous.iter().enumerate();
        let previous = previous.map(|(i, key)| (format!("keys.previous[{i}]"), key));
        root.into_iter().chain(previous).filter_map(problem).collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    pub concurrency: u16,
    provider_timeout_ms: u64,
    pub provider_concurrency: usize,
    provider_check_every_s: u64,
}

impl Worker {
    #[must_use]
    pub const fn provider_timeout(&self) -> Duration {
        Duration::from_millis(self.provider_timeout_ms)
    }

    /// How often every provider is checked; `None` where that is switched off.
    #[must_use]
    pub fn provider_check_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.provider_check_every_s)).filter(|every| !every.is_zero())
    }

    pub(super) fn validate(&self) -> Vec<String> {
        [
            outside("worker.concurrency", self.concurrency.into(), 1, 10_000),
            outside("worker.provider_timeout_ms", self.provider_timeout_ms, 100, 10_000),
            outside("worker.provider_concurrency", self.provider_concurrency as u64, 1, 10_000),
            outside("worker.provider_check_every_s", self.provider_check_every_s, 0, 86_400),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    pub enabled: bool,
    interval_ms: u64,
}

impl Relay {
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    pub(super) fn validate(&self) -> Vec<String> {
        outside("relay.interval_ms", self.interval_ms, 10, 60_000).into_iter().collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Plain,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
    pub sample: u64,
}

impl Log {
    pub(super) fn validate(&self) -> Vec<String> {
        outside("log.sample", self.sample, 1, 1_000_000).into_iter().collect()
    }
}

fn outside(name: &str, value: u64, low: u64, high: u64) -> Option<String> {
    (!(low..=high).contains(&value)).then(|| format!("{name} must be {low} to {high}, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_a_host_and_nothing_behind_its_path() {
        for url in ["https://otp.example.com", "http://127.0.0.1:8080/", "https://a.example/otp", "https://[::1]:8443"]
        {
            assert!(is_public_url(url), "{url}");
        }
        for url in [
            "https://",
            "https:///receipts",
            "https://a.example?x=1",
            "https://a.example/x#y",
            "https://u:p@a.example",
            "https://a.example:port",
            "https://a.example:0",
            "https://a b.example",
            "https://[::1",
            "ftp://a.example",
            "a.example",
        ] {
            assert!(!is_public_url(url), "{url}");
        }
    }
}
