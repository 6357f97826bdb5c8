//! Connections to one SMTP server: made, kept for the next message, and always thrown away when a dialogue breaks off,
//! so that no late answer is ever taken for another message's. What answers mean is told in `smtp`.

use std::error::Error as _;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::chain;

const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
const MOST_PARKED: usize = 8;
const PARKED_FOR: Duration = Duration::from_secs(30);
/// How long a parked connection may take to say that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// How the connection is protected.
pub(crate) enum Tls {
    Implicit(TlsParameters),
    Starttls(TlsParameters),
    Plain,
}

pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) login: Option<(String, SecretString)>,
    /// For one message in all.
    pub(crate) timeout: Duration,
    hello: ClientId,
    parked: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}:{})", self.host, self.port)
    }
}

/// Where in the dialogue something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Connect,
    Starttls,
    Login,
    Sender,
    Recipient,
    Data,
    /// From the message's first byte on: it may have been taken.
    Content,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The server said no.
    Reply(u16),
    /// The server lacks something that is needed.
    Unfit,
    /// No connection, no answer, or none that can be read.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) stage: Stage,
    pub(crate) wrong: Wrong,
    pub(crate) words: String,
}

impl Trouble {
    fn late(stage: Stage) -> Self {
        Self { stage, wrong: Wrong::Broken, words: "no answer in time".to_owned() }
    }

    fn unfit(stage: Stage, words: &str) -> Self {
        Self { stage, wrong: Wrong::Unfit, words: words.to_owned() }
    }
}

fn at(stage: Stage) -> impl Fn(Error) -> Trouble {
    move |error| match error.status() {
        Some(code) => {
            let words = error.source().map(ToString::to_string).unwrap_or_default();
            Trouble { stage, wrong: Wrong::Reply(code.into()), words }
        }
        None => {
            let wrong = if error.is_client() { Wrong::Unfit } else { Wrong::Broken };
            Trouble { stage, wrong, words: chain(&error) }
        }
    }
}

impl Server {
    pub(crate) fn new(
        host: String,
        port: u16,
        tls: Tls,
        login: Option<(String, SecretString)>,
        timeout: Duration,
    ) -> Self {
        Self { host, port, tls, login, timeout, hello: ClientId::default(), parked: Mutex::default() }
    }

    /// Delivers one message: nothing of it leaves before the server has agreed to take it.
    pub(crate) async fn deliver(&self, envelope: &Envelope, email: &[u8]) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.timeout;
        let ready = timeout_at(deadline, self.announce(envelope, email.is_ascii())).await;
        let mut connection = ready.unwrap_or_else(|_| Err(Trouble::late(Stage::Data)))?;
        let taken = timeout_at(deadline, connection.message(email)).await;
        taken.map_err(|_| Trouble::late(Stage::Content))?.map_err(at(Stage::Content))?;
        self.park(connection);
        Ok(())
    }

    /// Connects anew, logs in and says NOOP.
    pub(crate) async fn try_out(&self) -> Result<(), Trouble> {
        let tried = timeout(self.timeout, async {
            let mut connection = self.connect().await?;
            if connection.test_connected().await { Ok(()) } else { Err(Trouble::late(Stage::Sender)) }
        });
        tried.await.unwrap_or_else(|_| Err(Trouble::late(Stage::Connect)))
    }

    async fn announce(&self, envelope: &Envelope, is_ascii: bool) -> Result<AsyncSmtpConnection, Trouble> {
        let mut connection = match self.parked().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let parameters = parameters(&connection, envelope, is_ascii)?;
        let mail = Mail::new(envelope.from().cloned(), parameters);
        connection.command(mail).await.map_err(at(Stage::Sender))?;
        for recipient in envelope.to() {
            let recipient = Rcpt::new(recipient.clone(), Vec::new());
            connection.command(recipient).await.map_err(at(Stage::Recipient))?;
        }
        connection.command(Data).await.map_err(at(Stage::Data))?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let implicit = if let Tls::Implicit(tls) = &self.tls { Some(tls.clone()) } else { None };
        let server = (self.host.as_str(), self.port);
        let connected = AsyncSmtpConnection::connect_tokio1(server, None, &self.hello, implicit, None).await;
        let mut connection = connected.map_err(at(Stage::Connect))?;
        if let Tls::Starttls(tls) = &self.tls {
            connection.starttls(tls.clone(), &self.hello).await.map_err(at(Stage::Starttls))?;
        }
        if let Some((username, password)) = &self.login {
            let credentials = Credentials::new(username.clone(), password.expose_secret().to_owned());
            connection.auth(&MECHANISMS, &credentials).await.map_err(at(Stage::Login))?;
        }
        Ok(connection)
    }

    /// A parked connection that still lives. When one does not answer, the others are not asked.
    async fn parked(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.lock().pop()?;
            if since.elapsed() > PARKED_FOR {
                continue;
            }
            match timeout(SIGN_OF_LIFE, connection.test_connected()).await {
                Ok(true) => return Some(connection),
                Ok(false) => {}
                Err(_) => self.lock().clear(),
            }
        }
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        let mut parked = self.lock();
        parked.retain(|(_, since)| since.elapsed() <= PARKED_FOR);
        if parked.len() < MOST_PARKED {
            parked.push((connection, Instant::now()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(AsyncSmtpConnection, Instant)>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What MAIL must say of this message (RFC 6152, RFC 6531), if the server can take it at all.
fn parameters(
    connection: &AsyncSmtpConnection,
    envelope: &Envelope,
    is_ascii: bool,
) -> Result<Vec<MailParameter>, Trouble> {
    let mut parameters = Vec::new();
    let addresses = envelope.from().into_iter().chain(envelope.to());
    if !addresses.map(AsRef::<str>::as_ref).all(str::is_ascii) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Trouble::unfit(Stage::Recipient, "the server takes no addresses beyond ASCII"));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !is_ascii {
        if !connection.server_info().supports_feature(Extension::EightBitMime) {
            return Err(Trouble::unfit(Stage::Recipient, "the server takes no headers beyond ASCII"));
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}
