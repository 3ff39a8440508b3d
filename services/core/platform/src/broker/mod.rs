//! The one door to NATS: connecting, and publishing so that nothing acknowledged is lost or reordered.

pub mod dead_letter_queue;
pub mod ordered_consumer;
pub mod stream_merge;
pub mod stream_scan;
pub mod topology;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, HeaderMap, RequestErrorKind, ServerAddr,
    jetstream::{self, Context},
};
use events::{OutboundMessage, envelope::TRACEPARENT};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use thiserror::Error;
use tokio::{sync::watch, time::timeout};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    Check, ServiceError, Shutdown,
    runtime::{error::error_chain, supervise::backoff},
};

/// Where the broker is and how it knows us.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `nats://host:4222`, or `tls://…`; several are separated by commas.
    pub url: String,
    /// A `.creds` file; empty means none.
    pub credentials: PathBuf,
    /// A PEM file with the authority that signed the server's certificate; empty means the system's.
    pub ca: PathBuf,
    /// The server's monitoring page, like `http://127.0.0.1:8222`; empty means that it is not asked how it syncs.
    pub monitor_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            credentials: PathBuf::new(),
            ca: PathBuf::new(),
            monitor_url: String::new(),
        }
    }
}

/// The server takes at most this many messages in one atomic batch.
const BATCH_MESSAGES: usize = 1_000;
/// For each atomic batch the server makes a store in folders of its own and removes it again: fewer messages than this
/// cost less one by one.
const ATOMIC_FROM: usize = 16;
/// How long a publish may stay unanswered before it is tried again under the same ids.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a first connection is waited for before the broker counts as not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A message that will never be accepted, as the server put it.
#[derive(Debug, Error)]
#[error("the broker refuses the message for {subject}: {reason}")]
pub struct Rejected {
    /// Where it was to go.
    pub subject: String,
    /// Why not.
    pub reason: String,
}

/// Why a publish did not end in an acknowledgement.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The message can never be stored.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The process is stopping; what was not acknowledged is published again after a restart, under the same ids.
    #[error("stopped before the broker acknowledged")]
    Stopped,
}

impl From<PublishError> for ServiceError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Rejected(_) => Self::permanent("publish", error),
            PublishError::Stopped => Self::transient("publish", error),
        }
    }
}

/// A connection, shared by everything in the process.
#[derive(Debug, Clone)]
pub struct Broker {
    client: Client,
    jetstream: Context,
    shutdown: Shutdown,
    check: Check,
    /// Counts connections: what was sent on the one before may be lost.
    connections: watch::Receiver<u64>,
}

impl Broker {
    /// Connects, waiting up to half a minute for a broker that is still starting.
    pub async fn connect(
        settings: &Settings,
        name: &str,
        check: Check,
        shutdown: Shutdown,
    ) -> Result<Self, ServiceError> {
        Self::connect_within(CONNECT_TIMEOUT, settings, name, check, shutdown).await
    }

    /// Connects to a broker that should be there, for a command that somebody waits for.
    pub async fn connect_now(
        settings: &Settings,
        name: &str,
        check: Check,
        shutdown: Shutdown,
    ) -> Result<Self, ServiceError> {
        Self::connect_within(Duration::ZERO, settings, name, check, shutdown).await
    }

    async fn connect_within(
        patience: Duration,
        settings: &Settings,
        name: &str,
        check: Check,
        shutdown: Shutdown,
    ) -> Result<Self, ServiceError> {
        let away = |error: &dyn std::fmt::Display| {
            format!("no NATS server at {} ({error}); set nats.url", without_secrets(&settings.url))
        };
        let mut options = ConnectOptions::new()
            .name(format!("tickbell {name}"))
            // A user may be allowed to read its own answers and nobody else's.
            .custom_inbox_prefix(format!("_INBOX.{name}"))
            // Three seconds: a peer that is half open is noticed after two missed pings.
            .ping_interval(Duration::from_secs(3))
            .request_timeout(Some(ACK_TIMEOUT))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| Duration::from_millis(100 << attempts.min(5)));
        if !settings.ca.as_os_str().is_empty() {
            options = options.add_root_certificates(settings.ca.clone()).require_tls(true);
        }
        if !settings.credentials.as_os_str().is_empty() {
            options = options.credentials_file(&settings.credentials).await.map_err(|error| {
                ServiceError::permanent(format!("read nats.credentials = {}", settings.credentials.display()), error)
            })?;
        }
        let servers = addresses(&settings.url)?;
        if let Some((user, password)) = servers.iter().find_map(login) {
            options = options.user_and_password(user, password);
        }
        let events = check.clone();
        let (connected, connections) = watch::channel(0);
        let connected = Arc::new(connected);
        let options = options.event_callback(move |event| {
            let (check, connected) = (events.clone(), connected.clone());
            async move {
                match event {
                    async_nats::Event::Connected => {
                        check.ready();
                        connected.send_modify(|count| *count += 1);
                    }
                    async_nats::Event::Disconnected => {
                        check.failing("not connected");
                        warn!("the broker is away; waiting for it");
                    }
                    _ => debug!(event = %event, "broker"),
                }
            }
        });
        let deadline = tokio::time::Instant::now() + patience;
        for wait in backoff() {
            match options.clone().connect(&servers).await {
                Ok(client) => {
                    check.ready();
                    metrics::counter!("tickbell_publish_retries_total").increment(0);
                    let mut jetstream = jetstream::new(client.clone());
                    jetstream.set_timeout(ACK_TIMEOUT);
                    return Ok(Self { client, jetstream, shutdown, check, connections });
                }
                Err(error) if tokio::time::Instant::now() + wait > deadline || shutdown.is_cancelled() => {
                    return Err(ServiceError::permanent(away(&error), error));
                }
                Err(error) => warn!(url = without_secrets(&settings.url), %error, "waiting for the broker"),
            }
            tokio::time::sleep(wait).await;
        }
        unreachable!("the waits have no end")
    }

    /// JetStream, for this crate's other modules.
    pub(crate) fn jetstream(&self) -> &Context {
        &self.jetstream
    }

    /// Whether the connection stands right now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// What the connected server says it is, like `2.15.1`.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Whether the server flushes every write to disk before it acknowledges; `None` when it cannot be asked.
    ///
    /// By default it does so every two minutes, and acknowledged messages have been lost to power cuts (nats-server
    /// #7564).
    pub async fn syncs_always(&self, settings: &Settings) -> Option<bool> {
        if settings.monitor_url.is_empty() {
            return None;
        }
        let page = format!("{}/varz", settings.monitor_url.trim_end_matches('/'));
        let client = reqwest::Client::builder().timeout(ACK_TIMEOUT).build().ok()?;
        let body = client.get(page).send().await.ok()?.bytes().await.ok()?;
        let page: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(page.pointer("/jetstream/config/sync_always").and_then(serde_json::Value::as_bool).unwrap_or(false))
    }

    /// Says loudly when acknowledged messages can be lost.
    pub async fn warn_unless_sync_always(&self, settings: &Settings) {
        let syncs = self.syncs_always(settings).await;
        if let Some(always) = syncs {
            metrics::gauge!("tickbell_broker_sync_always").set(f64::from(u8::from(always))); // float: a gauge is one
        }
        let url = without_secrets(&settings.url);
        match syncs {
            Some(true) => {}
            Some(false) => warn!(
                url,
                "the broker acknowledges before it has flushed to disk: a power cut can lose messages; \
                 set `sync_interval: always` in the jetstream section of its configuration"
            ),
            None => warn!(url, "the broker was not asked how it syncs; set nats.monitor_url to its monitoring page"),
        }
    }

    /// Publishes in order and returns when all is acknowledged; what is not is published again under the same ids.
    ///
    /// Messages for one stream that follow each other go as atomic batches, one at a time: so that a batch costs the
    /// server a single fsync, and a batch that is lost on the way cannot be overtaken by the next. A few go one by one.
    pub async fn publish(&self, messages: &[OutboundMessage]) -> Result<(), PublishError> {
        for same_stream in messages.chunk_by(|a, b| root(&a.subject) == root(&b.subject)) {
            for batch in same_stream.chunks(BATCH_MESSAGES) {
                self.publish_until_acknowledged(batch).await?;
            }
        }
        Ok(())
    }

    async fn publish_until_acknowledged(&self, batch: &[OutboundMessage]) -> Result<(), PublishError> {
        let mut delays = backoff();
        let mut atomic = batch.len() >= ATOMIC_FROM;
        let mut failed = false;
        let mut connections = self.connections.clone();
        loop {
            connections.mark_unchanged();
            let attempt =
                async { if atomic { self.publish_atomic(batch).await } else { self.publish_singly(batch).await } };
            let outcome = tokio::select! {
                outcome = attempt => outcome,
                Ok(()) = connections.changed() => Err(Attempt::Unanswered("the connection was lost".into())),
                () = self.shutdown.cancelled() => return Err(PublishError::Stopped),
            };
            match outcome {
                Ok(()) => {
                    if failed {
                        self.check.ready();
                    }
                    return Ok(());
                }
                Err(Attempt::NotAsBatch) if atomic => atomic = false,
                Err(Attempt::NotAsBatch) => {
                    return Err(rejected(&batch[0], "it says that it is part of a batch").into());
                }
                Err(Attempt::Rejected(rejected)) => return Err(rejected.into()),
                Err(Attempt::Unanswered(error)) => {
                    failed = true;
                    self.check.failing(format!("publishes are not acknowledged: {error}"));
                    metrics::counter!("tickbell_publish_retries_total").increment(batch.len() as u64);
                    let wait = delays.next().unwrap_or(ACK_TIMEOUT);
                    warn!(
                        subject = batch[0].subject,
                        messages = batch.len(),
                        error,
                        wait_ms = wait.as_millis() as u64,
                        "not acknowledged, will publish again under the same ids"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.shutdown.cancelled() => return Err(PublishError::Stopped),
                    }
                }
            }
        }
    }

    /// All or nothing, ADR-50: only the last message asks for an answer.
    async fn publish_atomic(&self, batch: &[OutboundMessage]) -> Result<(), Attempt> {
        let id = Uuid::new_v4().simple().to_string();
        let (last, first) = batch.split_last().ok_or(Attempt::NotAsBatch)?;
        let sends = async {
            for (index, message) in first.iter().enumerate() {
                let mut headers = headers(message);
                headers.insert("Nats-Batch-Id", id.as_str());
                headers.insert("Nats-Batch-Sequence", (index + 1).to_string());
                let body = message.body.clone().into();
                self.client
                    .publish_with_headers(message.subject.clone(), headers, body)
                    .await
                    .map_err(|error| Attempt::Unanswered(error_chain(&error)))?;
            }
            Ok(())
        };
        // A full send queue of a client that is disconnected would block for ever.
        timeout(ACK_TIMEOUT, sends).await.map_err(|_| Attempt::Unanswered("the send queue is full".into()))??;

        let mut headers = headers(last);
        headers.insert("Nats-Batch-Id", id.as_str());
        headers.insert("Nats-Batch-Sequence", batch.len().to_string());
        headers.insert("Nats-Batch-Commit", "1");
        let reply = self
            .client
            .request_with_headers(last.subject.clone(), headers, last.body.clone().into())
            .await
            .map_err(|error| Attempt::Unanswered(error_chain(&error)))?;
        committed(&reply.payload, last)
    }

    /// Each after the acknowledgement of the one before, so that none overtakes: for one message, and for a batch of
    /// which a part is stored already.
    async fn publish_singly(&self, batch: &[OutboundMessage]) -> Result<(), Attempt> {
        for message in batch {
            self.publish_one(message).await?;
        }
        Ok(())
    }

    async fn publish_one(&self, message: &OutboundMessage) -> Result<(), Attempt> {
        let request =
            self.client.request_with_headers(message.subject.clone(), headers(message), message.body.clone().into());
        match request.await {
            Ok(reply) => committed(&reply.payload, message),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                Err(Attempt::Unanswered("no stream takes the subject, or JetStream is not up".into()))
            }
            Err(error) => Err(Attempt::Unanswered(error_chain(&error))),
        }
    }
}

/// The servers that `nats.url` names.
fn addresses(urls: &str) -> Result<Vec<ServerAddr>, ServiceError> {
    let parsed = urls.split(',').map(|url| url.trim().parse::<ServerAddr>()).collect::<Result<_, _>>();
    parsed.map_err(|error| ServiceError::permanent(format!("nats.url = {:?} is no URL", without_secrets(urls)), error))
}

/// Who we say we are: the library leaves the user of a URL unused.
fn login(server: &ServerAddr) -> Option<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(server.username()?), decoded(server.password()?)))
}

/// Server addresses as they may be shown: what stands before an `@` is for the server alone.
fn without_secrets(urls: &str) -> String {
    let shown = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    };
    urls.split(',').map(|url| shown(url.trim())).collect::<Vec<_>>().join(",")
}

/// How one attempt at a publish went wrong.
enum Attempt {
    /// It may or may not be stored: try again under the same ids.
    Unanswered(String),
    /// Some of it is stored already, or the stream takes no batches: go one by one.
    NotAsBatch,
    /// It never will be stored.
    Rejected(Rejected),
}

#[derive(Deserialize)]
struct PubAck {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    err_code: u32,
    description: String,
}

/// Reads a publish acknowledgement. Codes are those of the server's `errors.json`.
fn committed(payload: &[u8], message: &OutboundMessage) -> Result<(), Attempt> {
    let ack: PubAck = serde_json::from_slice(payload).map_err(|error| Attempt::Unanswered(error.to_string()))?;
    match ack.error {
        None => Ok(()),
        // 10174 to 10211: atomic publish is off, lost a part, is too large, or holds an id that is stored already.
        Some(error) if matches!(error.err_code, 10174..=10179 | 10198..=10211) => Err(Attempt::NotAsBatch),
        // 10054: larger than the stream's limit.
        Some(error) if error.err_code == 10054 => Err(Attempt::Rejected(rejected(message, &error.description))),
        Some(error) => Err(Attempt::Unanswered(error.description)),
    }
}

fn rejected(message: &OutboundMessage, reason: &str) -> Rejected {
    Rejected { subject: message.subject.clone(), reason: reason.to_owned() }
}

fn headers(message: &OutboundMessage) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    headers
}

/// The first token of a subject, which decides its stream.
fn root(subject: &str) -> &str {
    subject.split('.').next().unwrap_or(subject)
}

/// Adds the trace context to a message that is about to be published or stored for publishing.
pub fn with_trace_context(mut message: OutboundMessage, traceparent: Option<String>) -> OutboundMessage {
    message.headers.extend(traceparent.map(|value| (TRACEPARENT.to_owned(), value)));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_a_url_logs_in() {
        let servers = addresses("tls://a:4222, nats://gateway:s%40fe@b:4222").expect("addresses");
        assert_eq!(servers.iter().find_map(login), Some(("gateway".into(), "s@fe".into())));
        assert_eq!(addresses("nats://a:4222").expect("one").iter().find_map(login), None);
        let error = addresses("nats://gateway:secret@:x").expect_err("no port").to_string();
        assert!(error.contains("nats.url") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(without_secrets("nats://gateway:s3cr@t@a:4222, tls://b:4222"), "nats://a:4222,tls://b:4222");
        assert_eq!(without_secrets("token@a:4222"), "a:4222");
    }
}
