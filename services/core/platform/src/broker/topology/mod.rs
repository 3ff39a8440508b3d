//! The streams and consumers of `streams.yaml` on a real server: creating, updating and comparing them.

pub mod comparison;
mod settings;

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{self, PullConsumer},
    context::{ConsumerInfoErrorKind, GetStreamErrorKind},
    stream::Info,
};
use events::streams::{Consumer, Topology, TopologyError};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::{
    Broker, ServiceError,
    broker::stream_scan::{self, Which},
    runtime::error::error_chain,
    telemetry::gauge::set_gauge,
};
use comparison::{Difference, Severity, Uses, compare_consumer, compare_stream};
use settings::{consumer_config, loss, stream_config, updated};

/// The interval at which a process compares the streams that it uses, for its metrics.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

impl From<TopologyError> for ServiceError {
    fn from(error: TopologyError) -> Self {
        Self::permanent("read the streams", error)
    }
}

/// Creates what is missing and updates what differs. Limits that somebody has raised stay as they are. A change that would
/// delete messages is an error before anything changes.
pub async fn apply(broker: &Broker, topology: &Topology) -> Result<(), ServiceError> {
    let jetstream = broker.jetstream();
    let (mut changed, mut missing) = (Vec::new(), Vec::new());
    for (name, declared) in &topology.streams {
        let declared = stream_config(name, declared);
        let Some(actual) = stream_info(broker, name).await? else {
            missing.push(declared);
            continue;
        };
        let config = updated(&actual.config, &declared, topology);
        if actual.state.messages > 0
            && let Some(loss) = loss(&actual.config, &config)
        {
            let what = format!("stream {name} holds {} messages and would lose some", actual.state.messages);
            return Err(ServiceError::permanent(what, loss));
        }
        if config != actual.config {
            changed.push(config);
        }
    }
    // A new stream may store subjects that another one has stored so far.
    for config in changed.into_iter().chain(missing) {
        let what = format!("create or update stream {}", config.name);
        jetstream.create_or_update_stream(config).await.map_err(|error| ServiceError::permanent(what, error))?;
    }
    for (stream, declared) in &topology.streams {
        for (consumer, declared) in &declared.consumers {
            let failed = |error| {
                ServiceError::permanent(format!("create or update consumer {consumer} of stream {stream}"), error)
            };
            let config = consumer_config(consumer, declared);
            let _: PullConsumer = jetstream.create_consumer_on_stream(config, stream).await.map_err(failed)?;
        }
    }
    debug!(streams = topology.streams.len(), consumers = topology.consumers(), "streams up to date");
    Ok(())
}

/// Returns all differences between the server and the declaration.
pub async fn diff(broker: &Broker, topology: &Topology) -> Result<Vec<Difference>, ServiceError> {
    compare(broker, topology, &Uses::everything(topology)).await
}

/// Returns a permanent error where the server lacks what a process relies on. What differs otherwise is logged, and the
/// metrics have it.
pub async fn verify(broker: &Broker, topology: &Topology, uses: &Uses<'_>) -> Result<(), ServiceError> {
    let differences = compare(broker, topology, uses).await?;
    record(topology, uses, &differences);
    require_usable(&differences)?;
    warn_of(&differences);
    Ok(())
}

/// Compares again and again until shutdown, so that the metrics have the present state.
pub async fn watch(broker: Broker, topology: Topology, uses: Uses<'static>) {
    let mut known = None;
    let mut times = interval(COMPARE_EVERY);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = times.tick() => {}
            () = broker.shutdown.cancelled() => return,
        }
        match broker.on_connection(compare(&broker, &topology, &uses)).await {
            Some(Ok(differences)) => {
                record(&topology, &uses, &differences);
                if known.as_ref().is_some_and(|known| *known != differences) {
                    warn_of(&differences);
                }
                known = Some(differences);
            }
            // Who publishes or reads reports a broker that does not answer.
            Some(Err(error)) => debug!(error = error_chain(&error), "cannot compare the streams"),
            None => {}
        }
    }
}

/// Returns a permanent error where a process cannot rely on a consumer or its stream. A stream or a consumer that is
/// missing is created where this process may, and is a transient error where it may not.
pub async fn verify_consumer(broker: &Broker, name: &str, topology: &Topology) -> Result<(), ServiceError> {
    let uses = Uses { publishes: Vec::new(), consumers: vec![name] };
    let differences = compare(broker, topology, &uses).await?;
    match differences.iter().find(|difference| difference.severity == Severity::Missing) {
        Some(missing) => create_missing(broker, topology, &missing.of).await,
        None => require_usable(&differences),
    }
}

/// Returns how what a process uses differs from the declaration.
async fn compare(broker: &Broker, topology: &Topology, uses: &Uses<'_>) -> Result<Vec<Difference>, ServiceError> {
    let mut differences = Vec::new();
    for (name, declared) in &topology.streams {
        let needed = uses.subjects(declared);
        if needed.is_empty() {
            continue;
        }
        let Some(actual) = stream_info(broker, name).await? else {
            differences.push(Difference::missing(name, format!("stream {name}")));
            continue;
        };
        differences.extend(compare_stream(name, &actual.config, declared, &needed));
        for (consumer, declared) in &declared.consumers {
            if !uses.consumers.contains(&consumer.as_str()) {
                continue;
            }
            match consumer_info(broker, name, consumer).await? {
                Some(actual) => differences.extend(compare_consumer(name, consumer, &actual.config, declared)),
                None => differences.push(Difference::missing(name, format!("consumer {name}/{consumer}"))),
            }
        }
    }
    Ok(differences)
}

/// Sets the metric of each stream that a process uses.
fn record(topology: &Topology, uses: &Uses<'_>, differences: &[Difference]) {
    for (name, _) in topology.streams.iter().filter(|(_, declared)| !uses.subjects(declared).is_empty()) {
        let found = differences.iter().filter(|difference| difference.stream == *name).count();
        set_gauge(&metrics::gauge!("tickbell_stream_differences", "stream" => name.clone()), found as u64);
    }
}

fn warn_of(differences: &[Difference]) {
    if !differences.is_empty() {
        let differences = joined(differences.iter());
        warn!(differences, "the broker differs from schemas/streams.yaml; see `tickbell streams diff`");
    }
}

fn require_usable(differences: &[Difference]) -> Result<(), ServiceError> {
    let errors: Vec<_> = differences.iter().filter(|difference| difference.severity != Severity::Warning).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let what = "the broker differs from schemas/streams.yaml; run `tickbell streams apply`";
    Err(ServiceError::permanent(what, joined(errors)))
}

fn joined<'a>(differences: impl IntoIterator<Item = &'a Difference>) -> String {
    differences.into_iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Creates the streams that a publisher misses, where this process may. The publisher tries again in any case.
pub(crate) async fn create_missing_for_publisher(broker: &Broker) {
    if !broker.manages_streams() {
        return;
    }
    let created: Result<(), ServiceError> = async {
        let declared = Topology::declared()?;
        for name in declared.streams.keys() {
            if stream_info(broker, name).await?.is_none() {
                return create_missing(broker, &declared, &format!("stream {name}")).await;
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = created {
        warn!(error = error_chain(&error), "cannot create the missing streams");
    }
}

/// Returns what is missing of a consumer and its stream, if anything is.
pub(crate) async fn find_missing(broker: &Broker, stream: &str, name: &str) -> Result<Option<String>, ServiceError> {
    if stream_info(broker, stream).await?.is_none() {
        return Ok(Some(format!("stream {stream}")));
    }
    Ok(consumer_info(broker, stream, name).await?.is_none().then(|| format!("consumer {stream}/{name}")))
}

/// Returns the error of a stream or a consumer that is missing: it may be created any time.
pub(crate) fn missing(what: &str) -> ServiceError {
    ServiceError::transient(format!("{what} is missing"), "run `tickbell streams apply`")
}

/// Creates what was deleted on the server while services run, where this process may.
async fn create_missing(broker: &Broker, topology: &Topology, missing: &str) -> Result<(), ServiceError> {
    if !broker.manages_streams() {
        return Err(self::missing(missing));
    }
    warn!(missing, "something of schemas/streams.yaml was deleted on the broker; creating it again");
    let failed = |error| ServiceError::transient(format!("{missing} is missing; run `tickbell streams apply`"), error);
    Box::pin(apply(broker, topology)).await.map_err(failed)
}

/// The progress of a durable consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The number of messages that are not acknowledged.
    pub unacknowledged: u64,
    /// The stream sequence of the newest message of the consumer's subjects; 0 when there is none.
    pub newest: u64,
}

/// Asks the broker for the lag of a durable consumer.
pub async fn lag(broker: &Broker, topology: &Topology, name: &str) -> Result<Lag, ServiceError> {
    let (stream, declared) = declared_consumer(topology, name)?;
    let newest = stream_scan::read(broker, stream, Which::Last { last_by_subj: &declared.filter }).await?;
    let newest = newest.map_or(0, |message| message.sequence);
    let info = existing_consumer(broker, stream, name).await?;
    Ok(Lag { unacknowledged: info.num_pending + info.num_ack_pending as u64, newest })
}

/// Returns the last sequence that a stream has given out, by the right that every service has, to ask about its streams.
pub async fn stream_end(broker: &Broker, name: &str) -> Result<u64, ServiceError> {
    Ok(existing(broker, name).await?.state.last_sequence)
}

/// Returns the sequence up to which a durable consumer has acknowledged all messages of its stream.
pub async fn acknowledged(broker: &Broker, stream: &str, name: &str) -> Result<u64, ServiceError> {
    Ok(existing_consumer(broker, stream, name).await?.ack_floor.stream_sequence)
}

/// Returns the stream and the declaration of a durable consumer.
pub(crate) fn declared_consumer<'a>(
    topology: &'a Topology,
    name: &str,
) -> Result<(&'a str, &'a Consumer), ServiceError> {
    let unknown = || ServiceError::permanent("read a stream", format!("{name} is not in streams.yaml"));
    topology.consumer(name).ok_or_else(unknown)
}

/// Returns the sequence of the newest message that a stream holds; 0 where it holds none.
pub(crate) async fn last_sequence(broker: &Broker, name: &str) -> Result<u64, ServiceError> {
    // The stream's leader answers, so the answer includes everything acknowledged before, at less cost than a full stream info.
    let last = stream_scan::read(broker, name, Which::Last { last_by_subj: ">" }).await?;
    Ok(last.map_or(0, |message| message.sequence))
}

/// Returns the state of a stream that must exist.
pub(crate) async fn existing(broker: &Broker, name: &str) -> Result<Info, ServiceError> {
    let found = stream_info(broker, name).await?;
    found.ok_or_else(|| missing(&format!("stream {name}")))
}

/// Returns the state of a consumer that must exist.
pub(crate) async fn existing_consumer(
    broker: &Broker,
    stream: &str,
    name: &str,
) -> Result<consumer::Info, ServiceError> {
    let found = consumer_info(broker, stream, name).await?;
    found.ok_or_else(|| missing(&format!("consumer {stream}/{name}")))
}

async fn stream_info(broker: &Broker, name: &str) -> Result<Option<Info>, ServiceError> {
    match broker.jetstream().get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.code() == 404 => Ok(None),
            _ => Err(ServiceError::transient(format!("ask for stream {name}"), error)),
        },
    }
}

async fn consumer_info(broker: &Broker, stream: &str, name: &str) -> Result<Option<consumer::Info>, ServiceError> {
    let failed = |error: async_nats::Error| {
        ServiceError::transient(format!("ask for consumer {name} of stream {stream}"), error)
    };
    let handle = broker.jetstream().get_stream_no_info(stream).await.map_err(|error| failed(error.into()))?;
    match handle.consumer_info(name).await {
        Ok(actual) => Ok(Some(actual)),
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.into())),
    }
}
