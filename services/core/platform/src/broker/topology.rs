//! The streams and consumers of `streams.yaml` on a real server: creating, updating and comparing them.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::{
    consumer::{self, AckPolicy, IntoConsumerConfig, PullConsumer, pull},
    context::{ConsumerInfoErrorKind, GetStreamErrorKind},
    stream::{Compression, Config, DiscardPolicy, Info},
};
use events::{
    Timestamp,
    streams::{self, Ack, Consumer, Stream, Topology},
};
use tracing::{debug, warn};

use crate::{
    Broker, ServiceError,
    broker::stream_scan::{self, Which},
    runtime::error::error_chain,
};

/// Creates what is missing and updates what differs. A change that could delete messages is an error before anything changes.
pub async fn apply(broker: &Broker, topology: &Topology) -> Result<(), ServiceError> {
    let mut actual_replicas = BTreeMap::new();
    for (name, declared) in &topology.streams {
        let Some(actual) = stream_info(broker, name).await? else { continue };
        actual_replicas.insert(name, actual.config.num_replicas);
        let losses = losses(&actual.config, &stream_config(name, declared));
        if actual.state.messages > 0 && !losses.is_empty() {
            let what = format!("stream {name} holds {} messages and could lose some", actual.state.messages);
            return Err(ServiceError::permanent(what, losses.join("; ")));
        }
    }
    for (name, declared) in &topology.streams {
        let failed = |error| ServiceError::permanent(format!("create or update stream {name}"), error);
        let jetstream = broker.jetstream();
        let mut config = stream_config(name, declared);
        // A cluster may have more replicas than declared; they stay.
        config.num_replicas = config.num_replicas.max(actual_replicas.get(name).copied().unwrap_or_default());
        jetstream.create_or_update_stream(config).await.map_err(failed)?;
        for (consumer, declared) in &declared.consumers {
            let failed = |error| {
                ServiceError::permanent(format!("create or update consumer {consumer} of stream {name}"), error)
            };
            let config = consumer_config(consumer, declared);
            let _: PullConsumer = jetstream.create_consumer_on_stream(config, name).await.map_err(failed)?;
        }
        debug!(stream = name, consumers = declared.consumers.len(), "stream up to date");
    }
    debug!(streams = topology.streams.len(), consumers = topology.consumers(), "streams up to date");
    Ok(())
}

/// Returns the differences between the server and the declaration, one line each.
pub async fn diff(broker: &Broker, topology: &Topology) -> Result<Vec<String>, ServiceError> {
    let mut differences = Vec::new();
    for (name, declared) in &topology.streams {
        let Some(actual) = stream_info(broker, name).await? else {
            differences.push(format!("stream {name}: missing"));
            continue;
        };
        differences.extend(compare_stream(name, &actual.config, declared));
        for (consumer, declared) in &declared.consumers {
            differences.extend(diff_consumer(broker, name, consumer, declared).await?);
        }
    }
    Ok(differences)
}

/// Returns a permanent error where the server differs from the declaration.
pub async fn verify(broker: &Broker, topology: &Topology) -> Result<(), ServiceError> {
    require_none(diff(broker, topology).await?)?;
    debug!(streams = topology.streams.len(), consumers = topology.consumers(), "streams up to date");
    Ok(())
}

/// Returns a permanent error where a consumer or its stream differs from the declaration. A stream or a consumer that is
/// missing is created where this process may, and is a transient error where it may not.
pub async fn verify_consumer(
    broker: &Broker,
    stream: &str,
    name: &str,
    topology: &Topology,
) -> Result<(), ServiceError> {
    let (Some(declared), Some((_, consumer))) = (topology.streams.get(stream), topology.consumer(name)) else {
        return Err(ServiceError::permanent("verify streams", format!("{stream}/{name} is not in streams.yaml")));
    };
    let Some(actual) = stream_info(broker, stream).await? else {
        return create_missing(broker, topology, format!("stream {stream}")).await;
    };
    require_none(compare_stream(stream, &actual.config, declared))?;
    match consumer_info(broker, stream, name).await? {
        Some(actual) => require_none(compare_consumer(stream, name, &actual.config, consumer)),
        None => create_missing(broker, topology, format!("consumer {stream}/{name}")).await,
    }
}

/// Creates the streams that a publisher misses, where this process may. The publisher tries again in any case.
pub(crate) async fn create_missing_for_publisher(broker: &Broker) {
    if !broker.manages_streams() {
        return;
    }
    let created = async {
        let declared = Topology::declared().map_err(|error| ServiceError::permanent("read streams.yaml", error))?;
        let missing = async |name: &String| Ok::<_, ServiceError>(stream_info(broker, name).await?.is_none());
        for name in declared.streams.keys() {
            if missing(name).await? {
                return create_missing(broker, &declared, format!("stream {name}")).await;
            }
        }
        Ok(())
    };
    if let Err(error) = created.await {
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
async fn create_missing(broker: &Broker, topology: &Topology, missing: String) -> Result<(), ServiceError> {
    if !broker.manages_streams() {
        return Err(self::missing(&missing));
    }
    warn!(missing, "something of schemas/streams.yaml was deleted on the broker; creating it again");
    let failed = |error| ServiceError::transient(format!("{missing} is missing; run `tickbell streams apply`"), error);
    Box::pin(apply(broker, topology)).await.map_err(failed)
}

fn require_none(differences: Vec<String>) -> Result<(), ServiceError> {
    if differences.is_empty() {
        return Ok(());
    }
    let what = "the broker differs from schemas/streams.yaml; run `tickbell streams apply`";
    Err(ServiceError::permanent(what, differences.join("; ")))
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
    let (stream, declared) = topology
        .consumer(name)
        .ok_or_else(|| ServiceError::permanent("read a consumer's lag", format!("{name} is not in streams.yaml")))?;
    let failed = |error: async_nats::Error| {
        ServiceError::transient(format!("ask for consumer {name} of stream {stream}"), error)
    };
    let handle = broker.jetstream().get_stream_no_info(stream).await.map_err(|error| failed(error.into()))?;
    let newest = stream_scan::read(broker, stream, Which::Last { last_by_subj: &declared.filter }).await?;
    let newest = newest.map_or(0, |message| message.sequence);
    let info = handle.consumer_info(name).await.map_err(|error| failed(error.into()))?;
    Ok(Lag { unacknowledged: info.num_pending + info.num_ack_pending as u64, newest })
}

/// Returns the last sequence that a stream has given out, by the right that every service has, to ask about its streams.
pub async fn stream_end(broker: &Broker, name: &str) -> Result<u64, ServiceError> {
    Ok(existing(broker, name).await?.state.last_sequence)
}

/// Returns the sequence up to which a durable consumer has acknowledged all messages of its stream.
pub async fn acknowledged(broker: &Broker, stream: &str, name: &str) -> Result<u64, ServiceError> {
    let failed = |error: async_nats::Error| {
        ServiceError::transient(format!("ask for consumer {name} of stream {stream}"), error)
    };
    let handle = broker.jetstream().get_stream_no_info(stream).await.map_err(|error| failed(error.into()))?;
    let info = handle.consumer_info(name).await.map_err(|error| failed(error.into()))?;
    Ok(info.ack_floor.stream_sequence)
}

/// Returns when a stream was created, by the broker's clock.
pub(crate) async fn stream_created(broker: &Broker, name: &str) -> Result<Timestamp, ServiceError> {
    Ok(existing(broker, name).await?.created.into())
}

/// Returns the sequence of the oldest message that a stream holds.
pub(crate) async fn first_sequence(broker: &Broker, name: &str) -> Result<u64, ServiceError> {
    Ok(existing(broker, name).await?.state.first_sequence)
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

async fn stream_info(broker: &Broker, name: &str) -> Result<Option<Info>, ServiceError> {
    match broker.jetstream().get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.code() == 404 => Ok(None),
            _ => Err(ServiceError::transient(format!("ask for stream {name}"), error)),
        },
    }
}

async fn diff_consumer(
    broker: &Broker,
    stream: &str,
    name: &str,
    declared: &Consumer,
) -> Result<Vec<String>, ServiceError> {
    let Some(actual) = consumer_info(broker, stream, name).await? else {
        return Ok(vec![format!("consumer {stream}/{name}: missing")]);
    };
    Ok(compare_consumer(stream, name, &actual.config, declared))
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

fn stream_config(name: &str, declared: &Stream) -> Config {
    Config {
        name: name.to_owned(),
        description: Some(declared.description.clone()),
        subjects: declared.subjects.clone(),
        max_age: declared.max_age.map(|age| age.duration()).unwrap_or_default(),
        max_bytes: declared.max_bytes.0 as i64,
        max_messages: -1,
        max_messages_per_subject: declared.max_msgs_per_subject.unwrap_or(-1),
        max_message_size: declared.max_msg_size.0 as i32,
        duplicate_window: declared.duplicate_window.duration(),
        num_replicas: declared.replicas,
        compression: Some(match declared.compression {
            streams::Compression::None => Compression::None,
            streams::Compression::S2 => Compression::S2,
        }),
        discard: DiscardPolicy::Old,
        allow_direct: true,
        allow_atomic_publish: true,
        ..Config::default()
    }
}

fn consumer_config(name: &str, declared: &Consumer) -> pull::Config {
    pull::Config {
        durable_name: Some(name.to_owned()),
        filter_subject: declared.filter.clone(),
        ack_policy: match declared.ack {
            Ack::All => AckPolicy::All,
            Ack::Explicit => AckPolicy::Explicit,
        },
        ack_wait: declared.ack_wait.duration(),
        max_deliver: declared.max_deliver,
        max_ack_pending: declared.max_ack_pending,
        ..pull::Config::default()
    }
}

/// The compared settings by name, as text.
type ComparedSettings = BTreeMap<&'static str, String>;

fn stream_settings(config: &Config) -> ComparedSettings {
    BTreeMap::from([
        ("subjects", config.subjects.join(", ")),
        ("retention", format!("{:?}", config.retention)),
        ("storage", format!("{:?}", config.storage)),
        ("discard", format!("{:?}", config.discard)),
        ("max_age", format!("{:?}", config.max_age)),
        ("max_bytes", config.max_bytes.to_string()),
        ("max_msgs_per_subject", config.max_messages_per_subject.to_string()),
        ("max_msg_size", config.max_message_size.to_string()),
        ("duplicate_window", format!("{:?}", config.duplicate_window)),
        ("replicas", config.num_replicas.to_string()),
        ("compression", format!("{:?}", config.compression.as_ref().unwrap_or(&Compression::None))),
        ("allow_atomic", config.allow_atomic_publish.to_string()),
    ])
}

fn consumer_settings(config: &consumer::Config) -> ComparedSettings {
    BTreeMap::from([
        ("filter", config.filter_subject.clone()),
        ("ack", format!("{:?}", config.ack_policy)),
        ("ack_wait", format!("{:?}", config.ack_wait)),
        ("max_deliver", config.max_deliver.to_string()),
        ("max_ack_pending", config.max_ack_pending.to_string()),
        ("deliver", format!("{:?}", config.deliver_policy)),
    ])
}

fn compare_stream(name: &str, actual: &Config, declared: &Stream) -> Vec<String> {
    let mut config = stream_config(name, declared);
    // A cluster has more replicas than a laptop, and nothing here depends on their number.
    config.num_replicas = config.num_replicas.max(actual.num_replicas);
    compare(name, stream_settings(actual), stream_settings(&config))
}

fn compare_consumer(stream: &str, name: &str, actual: &consumer::Config, declared: &Consumer) -> Vec<String> {
    let declared = consumer_config(name, declared).into_consumer_config();
    compare(&format!("{stream}/{name}"), consumer_settings(actual), consumer_settings(&declared))
}

fn compare(name: &str, actual: ComparedSettings, declared: ComparedSettings) -> Vec<String> {
    declared
        .iter()
        .filter(|(setting, value)| actual.get(*setting) != Some(*value))
        .map(|(setting, value)| format!("{name}: {setting} is {}, declared {value}", actual[setting]))
        .collect()
}

/// Returns what in a change could delete stored messages: lower limits, and subjects that are no longer stored.
fn losses(actual: &Config, declared: &Config) -> Vec<String> {
    let unlimited = |limit: i64| if limit <= 0 { i64::MAX } else { limit };
    let age = |age: Duration| if age.is_zero() { Duration::MAX } else { age };
    let mut losses = Vec::new();
    if unlimited(declared.max_bytes) < unlimited(actual.max_bytes) {
        losses.push(format!("max_bytes would shrink from {} to {}", actual.max_bytes, declared.max_bytes));
    }
    if unlimited(declared.max_messages_per_subject) < unlimited(actual.max_messages_per_subject) {
        losses.push(format!("max_msgs_per_subject would shrink to {}", declared.max_messages_per_subject));
    }
    if age(declared.max_age) < age(actual.max_age) {
        losses.push(format!("max_age would shrink from {:?} to {:?}", actual.max_age, declared.max_age));
    }
    let removed = actual.subjects.iter().filter(|subject| !declared.subjects.contains(subject));
    losses.extend(removed.map(|subject| format!("{subject} would no longer be stored")));
    losses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_could_delete_messages_is_named() {
        let topology = Topology::declared().expect("streams.yaml");
        let declared = stream_config("TICKS", &topology.streams["TICKS"]);
        assert!(losses(&declared, &declared).is_empty());
        let larger = Config { max_bytes: -1, max_age: Duration::ZERO, ..declared.clone() };
        assert_eq!(losses(&larger, &declared).len(), 2);
        let wider = Config { subjects: vec!["ticks.>".into(), "feeds.>".into(), "old.>".into()], ..declared.clone() };
        assert_eq!(losses(&wider, &declared), ["old.> would no longer be stored"]);
    }
}
