//! The connection to NATS. This folder is the only code that names async-nats.

pub mod dead_letter_queue;
mod delivery;
pub mod message;
pub mod nack_export;
pub mod ordered_consumer;
pub mod publish;
pub mod stream_follow;
pub mod stream_merge;
pub mod stream_position;
pub mod stream_scan;
mod stream_watch;
pub mod topology;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, ServerAddr,
    jetstream::{self, Context},
};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, warn};

use crate::{Check, ServiceError, Shutdown, runtime::backoff::backoff, telemetry::gauge::set_gauge};

/// The addresses of the broker, and how to authenticate to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The server's URL, `nats://host:4222` or `tls://host:4222`; several are separated by commas.
    pub url: String,
    /// The path of a `.creds` file; empty means none.
    pub credentials: PathBuf,
    /// The path of a PEM file with the authority that signed the server's certificate; empty means the system's authorities.
    pub ca: PathBuf,
    /// The URL of the server's monitoring endpoint, like `http://127.0.0.1:8222`, by which its fsync setting is checked; empty
    /// means that it is not checked.
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

/// The time after which a publish without an answer is tried again under the same ids.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval of pings. The connection is given up at the third that has no answer to it or to the two before, and another
/// one is opened: within some seconds, whatever has become of the machine at its other end.
const PING_EVERY: Duration = Duration::from_secs(1);
/// The interval at which the state of the connection is looked at by those that wait for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The time that one attempt to connect may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time that a service waits at start for a broker that does not accept connections yet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to NATS, which the whole process shares.
#[derive(Debug, Clone)]
pub struct Broker {
    client: Client,
    jetstream: Context,
    shutdown: Shutdown,
    check: Check,
    /// The number of connections so far. A change means that messages sent on the connection before may be lost.
    connections: watch::Receiver<u64>,
    manages_streams: Arc<AtomicBool>,
}

impl Broker {
    /// Connects, and waits up to half a minute for a broker that is still starting.
    pub async fn connect(
        settings: &Settings,
        name: &str,
        check: Check,
        shutdown: Shutdown,
    ) -> Result<Self, ServiceError> {
        Self::connect_within(CONNECT_TIMEOUT, settings, name, check, shutdown).await
    }

    /// Connects without waiting, for a command on a terminal.
    pub async fn connect_now(
        settings: &Settings,
        name: &str,
        check: Check,
        shutdown: Shutdown,
    ) -> Result<Self, ServiceError> {
        Self::connect_within(Duration::ZERO, settings, name, check, shutdown).await
    }

    async fn connect_within(
        wait_at_most: Duration,
        settings: &Settings,
        name: &str,
        check: Check,
        shutdown: Shutdown,
    ) -> Result<Self, ServiceError> {
        let unreachable = |error: &dyn std::fmt::Display| {
            format!("no NATS server at {} ({error}); set nats.url", without_secrets(&settings.url))
        };
        let mut options = ConnectOptions::new()
            .name(format!("tickbell {name}"))
            // With a prefix of its own, a user's permissions can exclude the replies to other services.
            .custom_inbox_prefix(format!("_INBOX.{name}"))
            .ping_interval(PING_EVERY)
            .connection_timeout(ATTEMPT_TIMEOUT)
            .request_timeout(Some(ACK_TIMEOUT))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| Duration::from_millis(100 << attempts.min(3)));
        if !settings.ca.as_os_str().is_empty() {
            options = options.add_root_certificates(settings.ca.clone()).require_tls(true);
        }
        if !settings.credentials.as_os_str().is_empty() {
            options = options.credentials_file(&settings.credentials).await.map_err(|error| {
                ServiceError::permanent(format!("read nats.credentials = {}", settings.credentials.display()), error)
            })?;
        }
        let servers = addresses(&settings.url)?;
        if let Some((user, password)) = servers.iter().find_map(credentials) {
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
                        warn!("connection to the broker lost, reconnecting");
                    }
                    _ => debug!(event = %event, "broker event"),
                }
            }
        });
        let deadline = Instant::now() + wait_at_most;
        for wait in backoff() {
            match options.clone().connect(&servers).await {
                Ok(client) => {
                    check.ready();
                    metrics::counter!("tickbell_publish_retries_total").increment(0);
                    let mut jetstream = jetstream::new(client.clone());
                    jetstream.set_timeout(ACK_TIMEOUT);
                    let manages_streams = Arc::default();
                    return Ok(Self { client, jetstream, shutdown, check, connections, manages_streams });
                }
                Err(error) if Instant::now() + wait > deadline || shutdown.is_cancelled() => {
                    return Err(ServiceError::permanent(unreachable(&error), error));
                }
                Err(error) => {
                    warn!(url = without_secrets(&settings.url), %error, "cannot connect to the broker, retrying")
                }
            }
            sleep(wait).await;
        }
        unreachable!("the waits have no end")
    }

    /// Lets this process create again the streams and consumers that it finds missing.
    pub fn allow_stream_management(&self) {
        self.manages_streams.store(true, Ordering::Relaxed);
    }

    /// Returns whether this process may create streams and consumers.
    pub(crate) fn manages_streams(&self) -> bool {
        self.manages_streams.load(Ordering::Relaxed)
    }

    /// Waits for what the broker answers on the present connection; none when that is replaced meanwhile, because an answer to
    /// a request that was sent on it never comes.
    pub(crate) async fn on_connection<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut connections = self.connections();
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            Ok(()) = connections.changed() => None,
        }
    }

    /// Waits until the present connection is replaced by another. What was to be delivered on it may be lost.
    pub async fn reconnected(&self) {
        if self.connections().changed().await.is_err() {
            // The client is gone, and nothing replaces it.
            std::future::pending::<()>().await;
        }
    }

    /// Returns a receiver that sees each connection from now on.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    /// Returns the JetStream context, for the other modules of this crate.
    pub(crate) fn jetstream(&self) -> &Context {
        &self.jetstream
    }

    /// Returns whether the connection is up.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Waits until the connection is up.
    pub async fn connected(&self) {
        while !self.is_connected() {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the connection has been down for a time at a stretch.
    pub async fn disconnected_for(&self, time: Duration) {
        let mut up = Instant::now();
        while up.elapsed() < time {
            sleep(LOOK_EVERY).await;
            if self.is_connected() {
                up = Instant::now();
            }
        }
    }

    /// Returns the version of the connected server, like `2.15.1`.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Returns whether the server flushes every write to disk before it acknowledges; `None` when it cannot be asked.
    ///
    /// By default a server flushes every two minutes, and acknowledged messages have been lost to power cuts (nats-server
    /// #7564).
    pub async fn syncs_always(&self, settings: &Settings) -> Option<bool> {
        if settings.monitor_url.is_empty() {
            return None;
        }
        let page = format!("{}/varz", settings.monitor_url.trim_end_matches('/'));
        let page: reqwest::Url = page.parse().ok()?;
        let client = crate::http::client::builder(&page).timeout(ACK_TIMEOUT).build().ok()?;
        let body = client.get(page).send().await.ok()?.bytes().await.ok()?;
        let page: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(page.pointer("/jetstream/config/sync_always").and_then(serde_json::Value::as_bool).unwrap_or(false))
    }

    /// Logs a warning where a power cut can lose acknowledged messages.
    pub async fn warn_unless_sync_always(&self, settings: &Settings) {
        let syncs = self.syncs_always(settings).await;
        if let Some(always) = syncs {
            set_gauge(&metrics::gauge!("tickbell_broker_sync_always"), u64::from(always));
        }
        let url = without_secrets(&settings.url);
        match syncs {
            Some(true) => {}
            Some(false) => warn!(
                url,
                "the broker acknowledges before it flushes to disk, so a power cut can lose messages; \
                 set `sync_interval: always` in the jetstream section of its configuration"
            ),
            None => warn!(
                url,
                "cannot check whether the broker flushes to disk; set nats.monitor_url to its monitoring endpoint"
            ),
        }
    }
}

/// Parses the servers of `nats.url`.
fn addresses(urls: &str) -> Result<Vec<ServerAddr>, ServiceError> {
    let parsed = urls.split(',').map(|url| url.trim().parse::<ServerAddr>()).collect::<Result<_, _>>();
    parsed
        .map_err(|error| ServiceError::permanent(format!("nats.url = {:?} is not a URL", without_secrets(urls)), error))
}

/// Returns the user and password of a server's URL, which the library ignores.
fn credentials(server: &ServerAddr) -> Option<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(server.username()?), decoded(server.password()?)))
}

/// Removes user, password and token from server URLs, for logs and errors.
fn without_secrets(urls: &str) -> String {
    let shown = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    };
    urls.split(',').map(|url| shown(url.trim())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_a_url_is_used() {
        let servers = addresses("tls://a:4222, nats://gateway:s%40fe@b:4222").expect("addresses");
        assert_eq!(servers.iter().find_map(credentials), Some(("gateway".into(), "s@fe".into())));
        assert_eq!(addresses("nats://a:4222").expect("one").iter().find_map(credentials), None);
        let error = addresses("nats://gateway:secret@:x").expect_err("no port").to_string();
        assert!(error.contains("nats.url") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(without_secrets("nats://gateway:s3cr@t@a:4222, tls://b:4222"), "nats://a:4222,tls://b:4222");
        assert_eq!(without_secrets("token@a:4222"), "a:4222");
    }
}
