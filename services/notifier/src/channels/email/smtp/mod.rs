//! Emails to a mail server. Connections are used again for the next email.

mod connection;
pub mod reply;
pub(crate) mod server;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use events::Outcome;
use lettre::Message;
use platform::runtime::error::error_chain;
use tokio::time::Instant;
use tracing::error;

use self::{
    connection::{Connection, Failure},
    reply::Reply,
    server::Server,
};
use crate::retry_policy::{AttemptResult, WaitsFor};

/// The time after which an idle connection is closed. Servers close theirs after minutes (RFC 5321 §4.5.3.2: 5).
const MAX_IDLE: Duration = Duration::from_secs(60);
/// The time within which a used connection must answer, before a new one takes its place.
const REUSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A mail server with its idle connections, of which there are never more than concurrent attempts.
pub(crate) struct Smtp {
    server: Server,
    limit: Duration,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// The stage of a conversation, which matters when it ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client connects, starts TLS and authenticates; the server knows nothing of the email.
    Connecting,
    /// The client names the sender.
    Sender,
    /// The client names the recipient.
    Recipient,
    /// The client sends the content, after which the server may have accepted the email.
    Content,
}

/// What the server's last reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// No reply that could be read.
    None,
    /// The server goes away, or takes no further emails for the moment.
    Unavailable,
    /// A 4xx reply, which is about the email or its recipient for the moment.
    Transient,
    /// A reply that is about this client or its settings, whatever its code.
    Client,
    /// A 5xx reply.
    Permanent,
    /// The recipient's address, which this server cannot take.
    Address,
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

    /// Makes one attempt. Each step of it ends before the limit.
    pub(crate) async fn send(&self, message: &Message) -> AttemptResult {
        let deadline = Instant::now() + self.limit;
        let mut stage = Stage::Connecting;
        match self.transact(message, deadline, &mut stage).await {
            Ok(reply) => AttemptResult::new(Outcome::Sent, reply.text()),
            Err(failure) => self.result(stage, &failure),
        }
    }

    fn result(&self, stage: Stage, failure: &Failure) -> AttemptResult {
        let verdict = verdict(failure);
        let (outcome, waits_for) = outcome(stage, verdict);
        let text = error_chain(failure);
        let is_refused_before_recipient =
            matches!(stage, Stage::Connecting | Stage::Sender) && verdict == Verdict::Permanent;
        let is_ours = verdict == Verdict::Client || is_refused_before_recipient;
        if !is_ours {
            return AttemptResult { outcome, detail: text, waits_for };
        }
        let detail = format!(
            "the mail server refuses this client, not the recipient (check smtp.helo, smtp.from and smtp.url): {text}"
        );
        error!(server = self.destination(), detail, "the settings of mail are wrong");
        AttemptResult { outcome, detail, waits_for }
    }

    /// Sends one email (RFC 5321 §3.3). An early return drops the connection, which closes it.
    async fn transact(&self, message: &Message, deadline: Instant, stage: &mut Stage) -> Result<Reply, Failure> {
        let content = message.formatted();
        let mut connection = self.begin(message, &content, deadline, stage).await?;
        connection.set_deadline(deadline);
        *stage = Stage::Recipient;
        for address in message.envelope().to() {
            connection.rcpt_to(address).await?;
        }
        connection.data().await?;
        *stage = Stage::Content;
        let reply = connection.content(&content).await?;
        self.put_idle(connection);
        Ok(reply)
    }

    /// Returns a connection on which the email has begun. Servers end connections after some emails or some time, often with
    /// 421: whatever a used connection says instead of yes, a new one is asked at once.
    async fn begin(
        &self,
        message: &Message,
        content: &[u8],
        deadline: Instant,
        stage: &mut Stage,
    ) -> Result<Connection, Failure> {
        while let Some((mut connection, since)) = self.take_idle() {
            if since.elapsed() >= MAX_IDLE || !connection.is_idle() {
                continue;
            }
            connection.set_deadline(deadline.min(Instant::now() + REUSE_TIMEOUT));
            if connection.mail_from(message.envelope(), content).await.is_ok() {
                return Ok(connection);
            }
        }
        let mut connection = Connection::open(&self.server, deadline).await?;
        *stage = Stage::Sender;
        connection.mail_from(message.envelope(), content).await?;
        Ok(connection)
    }

    fn take_idle(&self) -> Option<(Connection, Instant)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_idle(&self, mut connection: Connection) {
        if connection.is_idle() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
        }
    }
}

fn verdict(failure: &Failure) -> Verdict {
    match failure {
        // RFC 5321 §3.8: the server ends the connection.
        Failure::Refused(reply) if reply.code == 421 || is_unavailable(reply) => Verdict::Unavailable,
        Failure::Refused(reply) if concerns_client(reply) => Verdict::Client,
        Failure::Refused(reply) if reply.code >= 500 => Verdict::Permanent,
        // A yes where another was due, like 250 to DATA: the server is not in step.
        Failure::Refused(_) => Verdict::Transient,
        Failure::NoUtf8 => Verdict::Address,
        Failure::NoStartTls | Failure::PlaintextAuth | Failure::NoAuth => Verdict::Client,
        _ => Verdict::None,
    }
}

/// Decides whether a refusal for the moment is about the server: its disk is full, or it accepts nothing (RFC 3463 §3.4). Servers
/// say other 4.3 of what they could not look up for one recipient.
fn is_unavailable(reply: &Reply) -> bool {
    let text = reply.text();
    text.split(' ').nth(1).is_some_and(|status| matches!(status, "4.3.1" | "4.3.2"))
}

/// Decides whether a refusal is about this client: its name, its authentication or its protocol. An address is not wrong then.
fn concerns_client(reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    let status = text.split(' ').nth(1).unwrap_or_default();
    match reply.code {
        // The server does not know a command, or not here, or not with this parameter, which is mostly our name (RFC 5321
        // §4.2.4, and Postfix), or wants authentication or TLS first (RFC 4954 §6, RFC 3207 §4).
        500 | 502..=504 | 530 | 534 | 535 | 538 => true,
        // Protocol status (RFC 3463 §3.6). Others than 501 say 5.5.0 of a mailbox, too.
        501 if status.starts_with("5.5.") => true,
        // Address status.
        _ if status.starts_with("5.1.") => false,
        // A name that the server refuses only once a recipient follows.
        _ => text.split(|character: char| !character.is_alphanumeric()).any(|word| matches!(word, "helo" | "ehlo")),
    }
}

/// Decides the outcome of an attempt that ended early, and what the next one waits for.
fn outcome(stage: Stage, verdict: Verdict) -> (Outcome, WaitsFor) {
    match (stage, verdict) {
        // A server that refuses the client before it knows the email does not refuse the email.
        (Stage::Connecting, _) | (_, Verdict::Client | Verdict::Unavailable) => (Outcome::Retrying, WaitsFor::Server),
        (Stage::Sender | Stage::Recipient, Verdict::None) => (Outcome::Retrying, WaitsFor::Server),
        // A refused sender says nothing of the recipient, whom the server does not know yet.
        (Stage::Sender, Verdict::Permanent | Verdict::Transient) => (Outcome::Retrying, WaitsFor::Server),
        (_, Verdict::Permanent | Verdict::Address) => (Outcome::Failed, WaitsFor::Recipient),
        (_, Verdict::Transient) => (Outcome::Retrying, WaitsFor::Recipient),
        (Stage::Content, Verdict::None) => (Outcome::Unknown, WaitsFor::Recipient),
    }
}

#[cfg(test)]
mod tests;
