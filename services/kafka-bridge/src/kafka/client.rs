//! What all clients of Kafka have in common: addresses, security, log lines, and whether a connection was lost.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rdkafka::{
    ClientConfig, ClientContext, Message, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError,
    message::DeliveryResult, producer::ProducerContext, types::RDKafkaErrorCode,
};
use tracing::{debug, info, warn};

use crate::{Mechanism, Security, Settings, kafka::KafkaFailure};

/// What the library says of the state that a lost connection had, where it was usable.
const CONNECTED: &str = "in state UP";

/// Returns the configuration that every client begins with.
pub(crate) fn config(settings: &Settings, client_id: &str) -> Result<ClientConfig, KafkaFailure> {
    let mut config = ClientConfig::new();
    config
        .set_log_level(RDKafkaLogLevel::Info)
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", client_id)
        .set(
            "security.protocol",
            match settings.security {
                Security::Plaintext => "plaintext",
                Security::Tls => "ssl",
                Security::SaslTls => "sasl_ssl",
            },
        )
        .set("broker.address.ttl", "1000")
        .set("reconnect.backoff.max.ms", "2000")
        .set("connections.max.idle.ms", "0")
        .set("socket.keepalive.enable", "true")
        .set("allow.auto.create.topics", "false");
    if settings.security != Security::Plaintext && !settings.ca.as_os_str().is_empty() {
        config.set("ssl.ca.location", settings.ca.display().to_string());
    }
    if settings.security == Security::SaslTls {
        let path = &settings.password_file;
        let password = std::fs::read_to_string(path);
        let password = password.map_err(|error| KafkaFailure::PasswordFile(path.clone(), error))?;
        let mechanism = match settings.mechanism {
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
        };
        config
            .set("sasl.mechanism", mechanism)
            .set("sasl.username", &settings.username)
            .set("sasl.password", password.trim_end_matches(['\r', '\n']));
    }
    Ok(config)
}

/// The reports of a client: lost connections and records that were not written.
#[derive(Debug, Clone)]
pub(crate) struct Reports {
    client: String,
    connection_lost: Arc<AtomicBool>,
    undelivered: Arc<Mutex<Option<RDKafkaErrorCode>>>,
}

impl Reports {
    pub(crate) fn new(client: &str) -> Self {
        Self { client: client.to_owned(), connection_lost: Arc::default(), undelivered: Arc::default() }
    }

    /// Of a broker that is away for long, each attempt to connect fails. What counts is a connection that was there.
    fn note_connection(&self, message: &str) {
        if message.contains(CONNECTED) && !self.connection_lost.swap(true, Ordering::Relaxed) {
            info!(client = self.client.as_str(), reason = message, "lost a connection to Kafka");
        }
    }

    /// Returns whether a connection to a broker was lost.
    pub(crate) fn is_connection_lost(&self) -> bool {
        self.connection_lost.load(Ordering::Relaxed)
    }

    /// Returns why a record was not written since the last call; none where all were.
    pub(crate) fn take_undelivered(&self) -> Option<RDKafkaErrorCode> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client.as_str();
        // A lost connection is no error of the library, so its log line is all that is heard of it.
        self.note_connection(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                warn!(client, facility, message, "Kafka's client reports an error");
            }
            _ => debug!(client, facility, message, "Kafka's client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note_connection(reason);
        debug!(client = self.client.as_str(), %error, reason, "Kafka reports an error");
    }
}

impl ConsumerContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        // Those of an aborted transaction are purged, which was asked for.
        if matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) {
            return;
        }
        let before = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).replace(code);
        if before.is_none() {
            let (topic, partition) = (message.topic(), message.partition());
            warn!(client = self.client.as_str(), topic, partition, %error, "a record was not written");
        }
    }
}
