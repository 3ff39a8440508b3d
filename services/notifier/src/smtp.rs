//! One conversation with a mail server at a time, over connections that are kept for the next mail.
//!
//! The library's pool is not used: it takes back a connection whose send was cancelled in the middle, and the next mail
//! would read the answer to the last one; and its errors do not say whether the content was on its way. Here a
//! connection is parked only after the server's last word, and a time-out closes it.

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

use crate::retry::Ending;

/// Servers close connections that are idle for minutes (RFC 5321 §4.5.3.2: 5); ours are gone before.
const PARKED: Duration = Duration::from_secs(60);
/// How long a parked connection may take to say that it is alive.
const ALIVE: Duration = Duration::from_secs(5);

/// A mail server, from its URL.
pub(crate) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    hello: ClientId,
    credentials: Option<Credentials>,
}

/// A URL that leads to no mail server. The URL is not repeated, because it may hold a password.
#[derive(Debug, Error)]
#[error(
    "{problem}: give smtps://user:password@host:465, smtp://user:password@host:587?tls=required, or without TLS \
     smtp://host:25; special characters in the password are percent-encoded"
)]
pub(crate) struct BadUrl {
    problem: String,
}

impl Server {
    /// Reads `smtp://` and `smtps://` URLs as lettre's `from_url` does: the path is the name to say hello with, `tls`
    /// is `required` or `opportunistic`.
    pub(crate) fn parse(url: &str) -> Result<Self, BadUrl> {
        let bad = |problem: String| BadUrl { problem };
        let url = Url::parse(url).map_err(|error| bad(format!("is no URL ({error})")))?;
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

/// A server and the connections to it that wait for the next mail: never more than mails were sent at once.
pub(crate) struct Smtp {
    server: Server,
    limit: Duration,
    parked: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

/// How far a conversation had come when it ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connecting, encrypting, signing in: nothing was said about the mail.
    Connecting,
    /// Sender and recipient are named.
    Addressing,
    /// The content is on its way, and with it the mail may have been taken.
    Content,
}

/// What the server said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing that could be read.
    None,
    /// 4xx, or a 5xx that is about us and not about the mail.
    NotNow,
    /// 5xx.
    Never,
}

/// Why there was no last word that the mail is taken.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Smtp(#[from] Error),
    /// RFC 6531 forbids to try.
    #[error("the address has letters that the server does not take (it has no SMTPUTF8)")]
    NoUtf8,
}

impl Smtp {
    pub(crate) fn new(server: Server, limit: Duration) -> Self {
        Self { server, limit, parked: Mutex::default() }
    }

    pub(crate) fn destination(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// One attempt. lettre's own time-out covers only the connect (#1027); this one covers all.
    pub(crate) async fn send(&self, message: &Message) -> Ending {
        let mut stage = Stage::Connecting;
        match timeout(self.limit, self.converse(message, &mut stage)).await {
            Ok(Ok(reply)) => Ending::new(Outcome::Sent, reply),
            Ok(Err(trouble)) => Ending::new(outcome(stage, trouble.answer()), trouble.words()),
            Err(_) => {
                let detail = format!("no answer from the mail server within {} s", self.limit.as_secs());
                Ending::new(outcome(stage, Answer::None), detail)
            }
        }
    }

    /// RFC 5321 §3.3. On an early return the connection is dropped, which closes it.
    async fn converse(&self, message: &Message, stage: &mut Stage) -> Result<String, Trouble> {
        let mut connection = self.connection().await?;
        *stage = Stage::Addressing;
        let (envelope, content) = (message.envelope(), message.formatted());
        let mut parameters = Vec::new();
        if envelope.to().iter().chain(envelope.from()).any(|address| !address.to_string().is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                self.park(connection);
                return Err(Trouble::NoUtf8);
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
        self.park(connection);
        Ok(format!("{} {}", reply.code(), reply.message().collect::<Vec<_>>().join(" ")))
    }

    /// A parked connection that is still alive, else a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        while let Some((mut connection, since)) = self.unpark() {
            if since.elapsed() < PARKED && timeout(ALIVE, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
        self.server.connect().await
    }

    fn unpark(&self) -> Option<(AsyncSmtpConnection, Instant)> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
    }
}

impl Trouble {
    /// The server's words where it said some, `550 5.1.1 no such user`, else what went wrong.
    fn words(&self) -> String {
        let said = match self {
            Self::Smtp(error) => error.status().zip(error.source()),
            Self::NoUtf8 => None,
        };
        said.map_or_else(|| error_chain(self), |(code, text)| format!("{code} {text}"))
    }

    fn answer(&self) -> Answer {
        let error = match self {
            Self::NoUtf8 => return Answer::Never,
            Self::Smtp(error) => error,
        };
        match error.status().map(u16::from) {
            // RFC 4954 §6 and RFC 3207 §4: sign in or encrypt first. Our settings are wrong, not the address.
            Some(530 | 534 | 535 | 538) => Answer::NotNow,
            Some(500..) => Answer::Never,
            Some(_) => Answer::NotNow,
            None => Answer::None,
        }
    }
}

/// What follows from an attempt that was cut short.
fn outcome(stage: Stage, answer: Answer) -> Outcome {
    match (stage, answer) {
        // A server that sends us away before it knows the mail says nothing about the mail.
        (Stage::Connecting, _) => Outcome::Retrying,
        (_, Answer::Never) => Outcome::Failed,
        (_, Answer::NotNow) | (Stage::Addressing, Answer::None) => Outcome::Retrying,
        (Stage::Content, Answer::None) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_knows_the_mail_can_refuse_it() {
        for (stage, answer, ends) in [
            (Stage::Connecting, Answer::None, Outcome::Retrying),
            (Stage::Connecting, Answer::NotNow, Outcome::Retrying),
            (Stage::Connecting, Answer::Never, Outcome::Retrying),
            (Stage::Addressing, Answer::None, Outcome::Retrying),
            (Stage::Addressing, Answer::NotNow, Outcome::Retrying),
            (Stage::Addressing, Answer::Never, Outcome::Failed),
            (Stage::Content, Answer::None, Outcome::Unknown),
            (Stage::Content, Answer::NotNow, Outcome::Retrying),
            (Stage::Content, Answer::Never, Outcome::Failed),
        ] {
            assert_eq!(outcome(stage, answer), ends, "{stage:?} {answer:?}");
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
        let signed_in = server("smtps://ada%40example.com:p%2Bq%2F@mail.example.com/here.example.com");
        assert_eq!(signed_in.credentials, Some(Credentials::new("ada@example.com".into(), "p+q/".into())));
        assert_eq!(signed_in.hello, ClientId::Domain("here.example.com".into()));
    }
}
