//! One attempt to reach the broker: socket, login, topology. And what its failures are called in words.

use std::io::ErrorKind as Io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::time::timeout;

use super::RabbitSettings;

/// For the socket, the handshake and the topology together.
const PATIENCE: Duration = Duration::from_secs(10);

/// A second handle on a connection's socket. lapin's I/O thread lives as long as its socket, even when the other side
/// is silent for ever, so whoever gives a connection up must cut it: dropping this does.
#[derive(Debug, Default)]
pub(super) struct Socket(Mutex<Handle>);

#[derive(Debug, Default)]
enum Handle {
    #[default]
    NotYet,
    Open(std::net::TcpStream),
    Cut,
}

impl Socket {
    fn handle(&self) -> MutexGuard<'_, Handle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails when the attempt was given up meanwhile: lapin connects in a thread that does not know.
    fn remember(&self, socket: &impl AsFd) -> std::io::Result<()> {
        let mut handle = self.handle();
        if matches!(*handle, Handle::Cut) {
            return Err(Io::ConnectionAborted.into());
        }
        *handle = Handle::Open(socket.as_fd().try_clone_to_owned()?.into());
        Ok(())
    }

    pub(super) fn cut(&self) {
        if let Handle::Open(socket) = std::mem::replace(&mut *self.handle(), Handle::Cut) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Cuts the socket of an attempt that was given up.
struct CutUnlessDone(Option<Arc<Socket>>);

impl Drop for CutUnlessDone {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.cut();
        }
    }
}

/// Connects, logs in and declares the topology.
pub(super) async fn dial(settings: &RabbitSettings) -> Result<(Connection, Arc<Socket>), String> {
    let socket = Arc::new(Socket::default());
    let mut guard = CutUnlessDone(Some(Arc::clone(&socket)));
    let connection = timeout(PATIENCE, establish(settings, Arc::clone(&socket)))
        .await
        .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error| words(&error))?;
    guard.0 = None;
    Ok((connection, socket))
}

async fn establish(settings: &RabbitSettings, socket: Arc<Socket>) -> lapin::Result<Connection> {
    let runtime = lapin::runtime::default_runtime()?;
    let properties = ConnectionProperties::default().with_connection_name(settings.connection_name.as_str().into());
    let reactor = runtime.clone();
    let open = async move |uri: AMQPUri, _| {
        let AMQPUri { scheme, authority, .. } = uri;
        let address = tokio::net::lookup_host((authority.host.as_str(), authority.port)).await?.collect::<Vec<_>>();
        let stream =
            timeout(PATIENCE, AsyncTcpStream::connect(&reactor, address)).await.map_err(std::io::Error::from)??;
        if let AsyncTcpStream::Plain(stream) = &stream {
            socket.remember(stream.get_ref())?;
        }
        match scheme {
            AMQPScheme::AMQP => Ok(stream),
            AMQPScheme::AMQPS => Ok(stream.into_tls(&authority.host, OwnedTLSConfig::default().as_ref()).await?),
        }
    };
    let connection = Connection::connector(settings.url.uri(), runtime, open, properties).await?;
    let channel = connection.create_channel().await?;
    settings.topology.declare(&channel).await?;
    channel.close(200, "declared".into()).await?;
    Ok(connection)
}

/// What went wrong, for people who run the broker.
pub(super) fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::IOError(error) => match error.kind() {
            Io::ConnectionRefused => "connection refused".to_owned(),
            Io::ConnectionAborted | Io::ConnectionReset | Io::BrokenPipe | Io::UnexpectedEof => {
                "the connection was closed".to_owned()
            }
            Io::TimedOut => "no answer".to_owned(),
            _ => error.to_string(),
        },
        ErrorKind::ProtocolError(error) => refusal(error.get_message().as_str()),
        ErrorKind::MissingHeartbeatError => "no sign of life for too long".to_owned(),
        ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => {
            "the connection was lost".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The broker's own words; where it says that a queue is not what we declare, also what to do.
fn refusal(message: &str) -> String {
    match message.strip_prefix("PRECONDITION_FAILED - inequivalent arg ") {
        Some(argument) => format!(
            "it holds a queue or exchange of ours with other arguments ({argument}): \
             delete it when it is empty, or set another OTPD_QUEUE__PREFIX"
        ),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_in_words() {
        let refused = lapin::Error::from(std::io::Error::from(Io::ConnectionRefused));
        assert_eq!(words(&refused), "connection refused");
        let lost = lapin::Error::from(ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed));
        assert_eq!(words(&lost), "the connection was lost");
        assert_eq!(refusal("ACCESS_REFUSED - Login was refused"), "ACCESS_REFUSED - Login was refused");
        let other = refusal("PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'otpd.dispatch'");
        assert!(other.contains("other arguments ('x-queue-type' for queue 'otpd.dispatch')"), "{other}");
        assert!(other.contains("OTPD_QUEUE__PREFIX"));
    }
}
