//! One connection to a mail server, and the commands on it (RFC 5321).
//!
//! The dialogue is our own: lettre's reads replies as UTF-8 lines with a space behind the code, which many servers do not send,
//! and its reader cannot be replaced while it owns STARTTLS. lettre still makes the messages and parses the addresses.

use std::{io, net::IpAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::FutureExt;
use lettre::{Address, address::Envelope};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use super::{
    reply::{NoReplyCode, Reply, ReplyReader},
    server::{Credentials, Server, Tls},
};

/// The time for which LF may follow CR, before CR alone is taken for the end of a line.
const LINE_FEED_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason why the server did not do what was asked.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The server's name could not be resolved, or no address of it answers.
    #[error("cannot connect to the mail server")]
    Connect(#[source] io::Error),
    /// TLS could not be agreed on.
    #[error("cannot agree on TLS with the mail server")]
    Tls(#[source] io::Error),
    /// The server refused a command.
    #[error("{}", .0.text())]
    Refused(Reply),
    /// The connection broke.
    #[error("the connection to the mail server broke")]
    Broken(#[source] io::Error),
    /// The server closed the connection instead of a reply.
    #[error("the mail server closed the connection")]
    Closed,
    /// The server sent no reply in time.
    #[error("no answer from the mail server in time (smtp.timeout_seconds)")]
    TimedOut,
    /// What the server sent is not SMTP.
    #[error(transparent)]
    NotSmtp(#[from] NoReplyCode),
    /// TLS is required, and the server has none.
    #[error("the mail server offers no STARTTLS, which smtp.url requires")]
    NoStartTls,
    /// The server sent more than its reply before TLS, which somebody on the way could have added.
    #[error("the mail server sent data in plain text behind its reply to STARTTLS")]
    DataBeforeTls,
    /// The password would be readable on the way.
    #[error(
        "the password is not sent, because the connection is not encrypted: set ?tls=required in smtp.url, or \
         smtp.allow_plaintext_auth = true"
    )]
    PlaintextAuth,
    /// The server offers no mechanism that we know.
    #[error("the mail server offers neither AUTH PLAIN nor AUTH LOGIN: remove the user and password from smtp.url")]
    NoAuth,
    /// RFC 6531 forbids sending to such an address without SMTPUTF8.
    #[error("the address has characters that the server does not accept (it lacks SMTPUTF8)")]
    NoUtf8,
}

/// What a connection is made of: TCP, or TLS on it.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// An open connection, on which the client has been introduced and authenticated.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Transport>>,
    local: IpAddr,
    encryption: Encryption,
    extensions: Vec<String>,
    deadline: Instant,
    /// Whether the last reply was read to its end.
    in_step: bool,
}

/// Whether others can read what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Plain,
    Tls,
}

impl Connection {
    /// Connects, introduces the client, starts TLS and authenticates, as the settings say.
    pub(super) async fn open(server: &Server, deadline: Instant) -> Result<Self, Failure> {
        let tcp = connect(&server.host, server.port, deadline).await?;
        tcp.set_nodelay(true).map_err(Failure::Connect)?;
        let local = tcp.local_addr().map_err(Failure::Connect)?.ip();
        let mut connection = Self {
            stream: BufReader::new(Box::new(tcp)),
            local,
            encryption: Encryption::Plain,
            extensions: Vec::new(),
            deadline,
            in_step: true,
        };
        if server.tls == Tls::Implicit {
            connection = connection.encrypt(server).await?;
        }
        let greeting = connection.reply().await?;
        positive(greeting)?;
        connection.introduce(server).await?;
        if connection.encryption == Encryption::Plain {
            match (server.tls, connection.offers("STARTTLS")) {
                (Tls::Required, false) => return Err(Failure::NoStartTls),
                (Tls::Required | Tls::Opportunistic, true) => {
                    connection.command("STARTTLS").await?;
                    if !connection.stream.buffer().is_empty() {
                        return Err(Failure::DataBeforeTls);
                    }
                    connection = connection.encrypt(server).await?;
                    connection.introduce(server).await?;
                }
                _ => {}
            }
        }
        if let Some(credentials) = &server.credentials {
            if connection.encryption == Encryption::Plain && !server.allows_plaintext_auth {
                return Err(Failure::PlaintextAuth);
            }
            connection.authenticate(credentials).await?;
        }
        Ok(connection)
    }

    /// Sets the time until which everything that follows must be done.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Returns whether the connection is between two commands: nothing came that nobody asked for, like 421 or its end.
    pub(super) fn is_idle(&mut self) -> bool {
        self.in_step && self.stream.buffer().is_empty() && self.stream.fill_buf().now_or_never().is_none()
    }

    /// Names the sender. This begins a mail.
    pub(super) async fn mail_from(&mut self, envelope: &Envelope, content: &[u8]) -> Result<(), Failure> {
        let mut parameters = String::new();
        if envelope.to().iter().chain(envelope.from()).any(|address| !address.to_string().is_ascii()) {
            if !self.offers("SMTPUTF8") {
                return Err(Failure::NoUtf8);
            }
            parameters.push_str(" SMTPUTF8");
        }
        if !content.is_ascii() && self.offers("8BITMIME") {
            parameters.push_str(" BODY=8BITMIME");
        }
        let from = envelope.from().map(Address::to_string).unwrap_or_default();
        self.command(&format!("MAIL FROM:<{from}>{parameters}")).await.map(|_| ())
    }

    /// Names a recipient.
    pub(super) async fn rcpt_to(&mut self, address: &Address) -> Result<(), Failure> {
        self.command(&format!("RCPT TO:<{address}>")).await.map(|_| ())
    }

    /// Asks to send the content.
    pub(super) async fn data(&mut self) -> Result<(), Failure> {
        let reply = self.exchange("DATA").await?;
        if reply.is_intermediate() { Ok(()) } else { Err(Failure::Refused(reply)) }
    }

    /// Sends the content and its end, and returns the reply, with which the server takes the mail.
    pub(super) async fn content(&mut self, content: &[u8]) -> Result<Reply, Failure> {
        match self.write(&dot_stuffed(content)).await {
            // A server that refuses the content before its end says so, and closes the connection.
            Err(Failure::Broken(error)) => positive(self.reply().await.map_err(|_| Failure::Broken(error))?),
            Err(failure) => Err(failure),
            Ok(()) => positive(self.reply().await?),
        }
    }

    fn offers(&self, extension: &str) -> bool {
        self.extensions
            .iter()
            .any(|line| line.split_ascii_whitespace().next().is_some_and(|name| name.eq_ignore_ascii_case(extension)))
    }

    /// Says EHLO, or HELO to a server that knows no EHLO (RFC 5321 §3.2).
    async fn introduce(&mut self, server: &Server) -> Result<(), Failure> {
        let name = server.helo.clone().unwrap_or_else(|| address_literal(self.local));
        let reply = self.exchange(&format!("EHLO {name}")).await?;
        if reply.is_positive() {
            self.extensions = reply.lines.into_iter().skip(1).collect();
            return Ok(());
        }
        self.extensions.clear();
        if reply.code < 500 {
            return Err(Failure::Refused(reply));
        }
        self.command(&format!("HELO {name}")).await.map(|_| ())
    }

    async fn encrypt(self, server: &Server) -> Result<Self, Failure> {
        let handshake = server.connector.connect(server.tls_name.clone(), self.stream.into_inner());
        let stream =
            timeout_at(self.deadline, handshake).await.map_err(|_| Failure::TimedOut)?.map_err(Failure::Tls)?;
        Ok(Self {
            stream: BufReader::new(Box::new(stream)),
            encryption: Encryption::Tls,
            extensions: Vec::new(),
            ..self
        })
    }

    /// Authenticates with PLAIN (RFC 4616), else with LOGIN.
    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), Failure> {
        let mechanisms: Vec<String> = self.extensions.iter().flat_map(|line| mechanisms(line)).collect();
        let has = |wanted: &str| mechanisms.iter().any(|mechanism| mechanism == wanted);
        let Credentials { user, password } = credentials;
        if has("PLAIN") {
            let response = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
            return self.command(&format!("AUTH PLAIN {response}")).await.map(|_| ());
        }
        if !has("LOGIN") {
            return Err(Failure::NoAuth);
        }
        for line in ["AUTH LOGIN", &BASE64_STANDARD.encode(user)] {
            let reply = self.exchange(line).await?;
            if !reply.is_intermediate() {
                return Err(Failure::Refused(reply));
            }
        }
        self.command(&BASE64_STANDARD.encode(password)).await.map(|_| ())
    }

    /// Sends a command, and returns an error unless the server has done it.
    async fn command(&mut self, line: &str) -> Result<Reply, Failure> {
        positive(self.exchange(line).await?)
    }

    async fn exchange(&mut self, line: &str) -> Result<Reply, Failure> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let writing = async {
            self.stream.get_mut().write_all(bytes).await?;
            self.stream.get_mut().flush().await
        };
        timeout_at(self.deadline, writing).await.map_err(|_| Failure::TimedOut)?.map_err(Failure::Broken)
    }

    /// Reads a reply. Where the server falls silent or closes the connection inside it, the code decides if it was read.
    async fn reply(&mut self) -> Result<Reply, Failure> {
        let mut reader = ReplyReader::default();
        let failure = loop {
            let line_end = Instant::now() + LINE_FEED_TIMEOUT;
            let until = if reader.may_have_ended() { line_end.min(self.deadline) } else { self.deadline };
            let bytes = match timeout_at(until, self.stream.fill_buf()).await {
                Ok(Ok([])) => break Failure::Closed,
                Ok(Ok(bytes)) => bytes,
                Ok(Err(error)) => break Failure::Broken(error),
                Err(_) if reader.may_have_ended() => {
                    return reader.finish().map(|reply| Reply { is_complete: true, ..reply }).ok_or(Failure::TimedOut);
                }
                Err(_) => break Failure::TimedOut,
            };
            let (used, reply) = reader.push(bytes)?;
            self.stream.consume(used);
            if let Some(reply) = reply {
                self.in_step &= reply.is_complete;
                return Ok(reply);
            }
        };
        self.in_step = false;
        reader.finish().ok_or(failure)
    }
}

fn positive(reply: Reply) -> Result<Reply, Failure> {
    if reply.is_positive() { Ok(reply) } else { Err(Failure::Refused(reply)) }
}

/// Connects to the first address of a host that answers. Each address has a share of the time, so that one that is silent does
/// not take the time of the next.
async fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, Failure> {
    let found = timeout_at(deadline, lookup_host((host, port))).await.map_err(|_| Failure::TimedOut)?;
    let addresses: Vec<_> = found.map_err(Failure::Connect)?.collect();
    let mut failure = Failure::Connect(io::Error::new(io::ErrorKind::NotFound, "its name has no address"));
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        failure = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Failure::Connect(error),
            Err(_) => Failure::TimedOut,
        };
    }
    Err(failure)
}

/// Returns the name of a client without a domain (RFC 5321 §4.1.3).
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// Returns the mechanisms that a line of the EHLO reply offers, like `AUTH PLAIN LOGIN`, or `AUTH=PLAIN` of old servers.
fn mechanisms(line: &str) -> Vec<String> {
    let line = line.to_ascii_uppercase();
    let offered = line.strip_prefix("AUTH ").or_else(|| line.strip_prefix("AUTH=")).unwrap_or_default();
    offered.split([' ', '=']).map(str::to_owned).collect()
}

/// Returns the content as it is sent: each line ends with CR LF, a dot is added to one at the start of a line, and a line with
/// one dot ends it (RFC 5321 §4.5.2). A bare CR or LF becomes a line end, because servers differ in how they read it, which
/// would let a text end the mail and begin another one.
fn dot_stuffed(content: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(content.len() + 64);
    let mut rest = content;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        if rest[0] == b'.' {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(&rest[..end]);
        stuffed.extend_from_slice(b"\r\n");
        let line_end = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = rest.get(end + line_end..).unwrap_or_default();
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_can_end_the_mail() {
        for (content, expected) in [
            (&b"a\r\nb\r\n"[..], &b"a\r\nb\r\n.\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b".\r\n..a\r\n", b"..\r\n...a\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\n\r\nb", b"a\r\n\r\nb\r\n.\r\n"),
            (b"", b".\r\n"),
        ] {
            assert_eq!(dot_stuffed(content).escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }

    #[test]
    fn mechanisms_are_read_as_servers_offer_them() {
        for (line, expected) in [
            ("AUTH PLAIN LOGIN", &["PLAIN", "LOGIN"][..]),
            ("auth login", &["LOGIN"]),
            ("AUTH=PLAIN LOGIN", &["PLAIN", "LOGIN"]),
            ("SIZE 1000", &[""]),
        ] {
            assert_eq!(mechanisms(line), expected, "{line}");
        }
    }

    #[test]
    fn a_client_without_a_domain_says_its_address() {
        for (address, expected) in
            [("127.0.0.1", "[127.0.0.1]"), ("::1", "[IPv6:::1]"), ("::ffff:10.0.0.1", "[10.0.0.1]")]
        {
            assert_eq!(address_literal(address.parse().expect("an address")), expected);
        }
    }
}
