//! SMTP, over connections that are reused for the next email.
//!
//! The library's pool is not used: it reuses a connection whose send was cancelled half way, so that the next email would read
//! the reply to the last one, and its errors do not tell whether the content was being sent. Here a connection becomes idle
//! only after the server's final reply, and a time-out closes it.

use std::{
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use events::Outcome;
use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Tls, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use percent_encoding::percent_decode_str;
use platform::runtime::error::error_chain;
use thiserror::Error;
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use crate::retry_policy::AttemptResult;

/// The time after which an idle connection is closed. Servers close theirs after minutes (RFC 5321 §4.5.3.2: 5).
const MAX_IDLE: Duration = Duration::from_secs(60);
/// The time within which an idle connection must answer a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// A mail server, from its URL.
pub(crate) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    hello: ClientId,
    credentials: Option<Credentials>,
}

/// A URL that names no mail server. The error does not repeat the URL, because it may contain a password.
#[derive(Debug, Error)]
#[error(
    "{problem}: give smtps://user:password@host:465, smtp://user:password@host:587?tls=required, or without TLS \
     smtp://host:25; special characters in the password are percent-encoded"
)]
pub(crate) struct BadUrl {
    problem: String,
}

impl Server {
    /// Parses `smtp://` and `smtps://` URLs as lettre's `from_url` does: the path is the client name for EHLO, `tls` is
    /// `required` or `opportunistic`.
    pub(crate) fn parse(url: &str) -> Result<Self, BadUrl> {
        let bad = |problem: String| BadUrl { problem };
        let url = Url::parse(url).map_err(|error| bad(format!("is not a URL ({error})")))?;
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(bad("names no host".into())),
        };
        let wanted = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
        let parameters = || {
            TlsParameters::new(host.clone())
                .map_err(|error| bad(format!("asks for TLS, which cannot be set up ({error})")))
        };
        let (tls, port) = match (url.scheme(), wanted.as_deref()) {
            ("smtp", None) => (Tls::None, 25),
            ("smtp", Some("required")) => (Tls::Required(parameters()?), 587),
            ("smtp", Some("opportunistic")) => (Tls::Opportunistic(parameters()?), 587),
            ("smtps", _) => (Tls::Wrapper(parameters()?), 465),
            ("smtp", Some(tls)) => return Err(bad(format!("has tls={tls}, which is not known"))),
            (scheme, _) => return Err(bad(format!("has scheme {scheme}, which is not known"))),
        };
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
            decoded.map_err(|_| bad("has a user or password that is not UTF-8".into()))
        };
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decode(url.username())?, decode(password)?)),
            None => None,
        };
        Ok(Self { port: url.port().unwrap_or(port), host, tls, hello, credentials })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let wrapper = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let address = (self.host.as_str(), self.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, None, &self.hello, wrapper, None).await?;
        match &self.tls {
            Tls::Required(parameters) => connection.starttls(parameters.clone(), &self.hello).await?,
            Tls::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &self.hello).await?;
            }
            _ => {}
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// A mail server with its idle connections, of which there are never more than concurrent attempts.
pub(crate) struct Smtp {
    server: Server,
    limit: Duration,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

/// The stage of a conversation, which matters when it ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client connects, starts TLS and authenticates; the server knows nothing of the email.
    Connecting,
    /// The client names the sender and the recipient.
    Addressing,
    /// The client sends the content, after which the server may have accepted the email.
    Content,
}

/// The kind of the server's last reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// No reply that could be read.
    None,
    /// A 4xx reply, or a 5xx reply that concerns this client and not the email.
    Transient,
    /// A 5xx reply.
    Permanent,
}

/// The reason why the server did not accept the email.
#[derive(Debug, Error)]
enum SendError {
    #[error(transparent)]
    Smtp(#[from] Error),
    /// RFC 6531 forbids sending to such an address without SMTPUTF8.
    #[error("the address has characters that the server does not accept (it lacks SMTPUTF8)")]
    NoUtf8,
}

impl Smtp {
    pub(crate) fn new(server: Server, limit: Duration) -> Self {
        Self { server, limit, idle: Mutex::default() }
    }

    pub(crate) fn destination(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Makes one attempt. lettre's own time-out covers only the connect (#1027); this one covers all.
    pub(crate) async fn send(&self, message: &Message) -> AttemptResult {
        let mut stage = Stage::Connecting;
        match timeout(self.limit, self.transact(message, &mut stage)).await {
            Ok(Ok(reply)) => AttemptResult::new(Outcome::Sent, reply),
            Ok(Err(error)) => AttemptResult::new(outcome(stage, error.reply()), error.text()),
            Err(_) => {
                let detail = format!("no answer from the mail server within {} s", self.limit.as_secs());
                AttemptResult::new(outcome(stage, Reply::None), detail)
            }
        }
    }

    /// Sends one email (RFC 5321 §3.3). An early return drops the connection, which closes it.
    async fn transact(&self, message: &Message, stage: &mut Stage) -> Result<String, SendError> {
        let mut connection = self.connection().await?;
        *stage = Stage::Addressing;
        let (envelope, content) = (message.envelope(), message.formatted());
        let mut parameters = Vec::new();
        if envelope.to().iter().chain(envelope.from()).any(|address| !address.to_string().is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                self.put_idle(connection);
                return Err(SendError::NoUtf8);
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !content.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        connection.command(Mail::new(envelope.from().cloned(), parameters)).await?;
        for address in envelope.to() {
            connection.command(Rcpt::new(address.clone(), Vec::new())).await?;
        }
        connection.command(Data).await?;
        *stage = Stage::Content;
        let reply = connection.message(&content).await?;
        self.put_idle(connection);
        Ok(format!("{} {}", reply.code(), reply.message().collect::<Vec<_>>().join(" ")))
    }

    /// Returns an idle connection that still answers, else a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        while let Some((mut connection, since)) = self.take_idle() {
            if since.elapsed() < MAX_IDLE && timeout(CHECK_TIMEOUT, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
        self.server.connect().await
    }

    fn take_idle(&self) -> Option<(AsyncSmtpConnection, Instant)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_idle(&self, connection: AsyncSmtpConnection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
    }
}

impl SendError {
    /// Returns the server's reply where there is one, like `550 5.1.1 no such user`, else the error.
    fn text(&self) -> String {
        let reply = match self {
            Self::Smtp(error) => error.status().zip(error.source()),
            Self::NoUtf8 => None,
        };
        reply.map_or_else(|| error_chain(self), |(code, text)| format!("{code} {text}"))
    }

    fn reply(&self) -> Reply {
        let error = match self {
            Self::NoUtf8 => return Reply::Permanent,
            Self::Smtp(error) => error,
        };
        match error.status().map(u16::from) {
            // RFC 4954 §6 and RFC 3207 §4: the server wants authentication or TLS first. The settings are wrong, not the address.
            Some(530 | 534 | 535 | 538) => Reply::Transient,
            Some(500..) => Reply::Permanent,
            Some(_) => Reply::Transient,
            None => Reply::None,
        }
    }
}

/// Decides the outcome of an attempt that ended early.
fn outcome(stage: Stage, reply: Reply) -> Outcome {
    match (stage, reply) {
        // A server that refuses the client before it knows the email does not refuse the email.
        (Stage::Connecting, _) => Outcome::Retrying,
        (_, Reply::Permanent) => Outcome::Failed,
        (_, Reply::Transient) | (Stage::Addressing, Reply::None) => Outcome::Retrying,
        (Stage::Content, Reply::None) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_knows_the_email_can_refuse_it() {
        for (stage, reply, expected) in [
            (Stage::Connecting, Reply::None, Outcome::Retrying),
            (Stage::Connecting, Reply::Transient, Outcome::Retrying),
            (Stage::Connecting, Reply::Permanent, Outcome::Retrying),
            (Stage::Addressing, Reply::None, Outcome::Retrying),
            (Stage::Addressing, Reply::Transient, Outcome::Retrying),
            (Stage::Addressing, Reply::Permanent, Outcome::Failed),
            (Stage::Content, Reply::None, Outcome::Unknown),
            (Stage::Content, Reply::Transient, Outcome::Retrying),
            (Stage::Content, Reply::Permanent, Outcome::Failed),
        ] {
            assert_eq!(outcome(stage, reply), expected, "{stage:?} {reply:?}");
        }
    }

    #[test]
    fn the_url_says_where_how_and_who() {
        let server = |url: &str| Server::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        for (url, host, port) in [
            ("smtp://127.0.0.1:2525", "127.0.0.1", 2525),
            ("smtp://mail.example.com", "mail.example.com", 25),
            ("smtp://[::1]:2525", "::1", 2525),
            ("smtp://mail.example.com?tls=required", "mail.example.com", 587),
            ("smtps://mail.example.com", "mail.example.com", 465),
        ] {
            let server = server(url);
            assert_eq!((server.host.as_str(), server.port, server.credentials), (host, port, None), "{url}");
        }
        assert!(matches!(server("smtp://a.example").tls, Tls::None));
        assert!(matches!(server("smtp://a.example?tls=required").tls, Tls::Required(_)));
        assert!(matches!(server("smtp://a.example?tls=opportunistic").tls, Tls::Opportunistic(_)));
        assert!(matches!(server("smtps://a.example").tls, Tls::Wrapper(_)));
        let authenticated = server("smtps://ada%40example.com:p%2Bq%2F@mail.example.com/here.example.com");
        assert_eq!(authenticated.credentials, Some(Credentials::new("ada@example.com".into(), "p+q/".into())));
        assert_eq!(authenticated.hello, ClientId::Domain("here.example.com".into()));
    }
}
