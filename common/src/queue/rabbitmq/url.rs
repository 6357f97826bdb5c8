//! Where the broker is and how to log in there: parsed once, and shown without its password.

use std::fmt;
use std::str::FromStr;

use lapin::uri::AMQPUri;

/// A dead peer is noticed after twice this time, in seconds.
const HEARTBEAT: u16 = 10;
/// Jobs are small; lapin keeps two buffers of 32 frames for each connection.
const FRAME: u32 = 32 * 1024;

/// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS. Shown as `host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(AMQPUri);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a RabbitMQ address: write amqp://user:password@host:port/vhost, or amqps:// for TLS")]
pub struct BadUrl;

impl BrokerUrl {
    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}

impl FromStr for BrokerUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        // The parser's own message may hold the whole text, and with it the password.
        let mut uri: AMQPUri = text.parse().map_err(|_| BadUrl)?;
        let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()).ok_or(BadUrl)?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host.is_empty() {
            return Err(BadUrl);
        }
        // It takes IPv6 literals for a missing host.
        if let Some((literal, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            literal.clone_into(&mut uri.authority.host);
        }
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        uri.query.frame_max.get_or_insert(FRAME);
        Ok(Self(uri))
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.0.authority.host, self.0.authority.port);
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, address: &str, vhost: &str) {
        let url: BrokerUrl = text.parse().expect("a url");
        assert_eq!((url.to_string().as_str(), url.0.vhost.as_str()), (address, vhost), "{text}");
    }

    #[test]
    fn addresses_are_understood() {
        check("amqp://guest:guest@127.0.0.1:5672/%2f", "127.0.0.1:5672", "/");
        check("amqp://broker", "broker:5672", "/");
        check("amqp://u:p@broker/", "broker:5672", "/");
        check("amqps://u:p@broker.example/otp?heartbeat=30", "broker.example:5671", "otp");
        check("amqp://u:p@[::1]:5673/otp", "[::1]:5673", "otp");
    }

    #[test]
    fn nothing_shows_the_password() {
        let url: BrokerUrl = "amqp://otpd:s3cret@broker:5672/%2f".parse().expect("a url");
        assert!(!format!("{url} {url:?}").contains("s3cret"));
        for bad in ["http://u:s3cret@broker/", "broker:s3cret", "amqp://", "amqp:///", "", "amqp://u:s3cret@"] {
            assert_eq!(bad.parse::<BrokerUrl>(), Err(BadUrl), "{bad}");
        }
        assert!(!BadUrl.to_string().contains("s3cret"));
    }
}
