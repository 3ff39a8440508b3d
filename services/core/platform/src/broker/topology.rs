//! The streams and consumers of `streams.yaml` on a real server: made so, compared, and exported.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::{
    consumer::{self, AckPolicy, IntoConsumerConfig, PullConsumer, pull},
    context::{ConsumerInfoErrorKind, GetStreamErrorKind},
    stream::{Compression, Config, DiscardPolicy, Info, LastRawMessageErrorKind},
};
use events::{
    Period, Timestamp,
    streams::{self, Ack, Consumer, Stream, Topology},
};
use serde_json::{Value, json};
use tracing::info;

use crate::{Broker, ServiceError};

/// Creates what is missing and updates what differs; refuses, before changing anything, what would lose messages.
pub async fn apply(broker: &Broker, topology: &Topology) -> Result<(), ServiceError> {
    let mut there_replicas = BTreeMap::new();
    for (name, declared) in &topology.streams {
        let Some(there) = stream_info(broker, name).await? else { continue };
        there_replicas.insert(name, there.config.num_replicas);
        let losses = losses(&there.config, &stream_config(name, declared));
        if there.state.messages > 0 && !losses.is_empty() {
            let what = format!("stream {name} holds {} messages and could lose some", there.state.messages);
            return Err(ServiceError::permanent(what, losses.join("; ")));
        }
    }
    for (name, declared) in &topology.streams {
        let fault = |error| ServiceError::permanent(format!("make stream {name} as declared"), error);
        let jetstream = broker.jetstream();
        let mut config = stream_config(name, declared);
        // Copies that a cluster keeps are not taken away.
        config.num_replicas = config.num_replicas.max(there_replicas.get(name).copied().unwrap_or_default());
        jetstream.create_or_update_stream(config).await.map_err(fault)?;
        for (consumer, declared) in &declared.consumers {
            let fault = |error| {
                ServiceError::permanent(format!("make consumer {consumer} of stream {name} as declared"), error)
            };
            let config = consumer_config(consumer, declared);
            let _: PullConsumer = jetstream.create_consumer_on_stream(config, name).await.map_err(fault)?;
        }
        info!(stream = name, consumers = declared.consumers.len(), "as declared");
    }
    Ok(())
}

/// What the server has otherwise than declared, one line each; empty when it is as declared.
pub async fn diff(broker: &Broker, topology: &Topology) -> Result<Vec<String>, ServiceError> {
    let mut differences = Vec::new();
    for (name, declared) in &topology.streams {
        let Some(there) = stream_info(broker, name).await? else {
            differences.push(format!("stream {name}: missing"));
            continue;
        };
        differences.extend(compare_stream(name, &there.config, declared));
        for (consumer, declared) in &declared.consumers {
            differences.extend(diff_consumer(broker, name, consumer, declared).await?);
        }
    }
    Ok(differences)
}

/// Refuses a server that is not as declared.
pub async fn verify(broker: &Broker, topology: &Topology) -> Result<(), ServiceError> {
    refuse(diff(broker, topology).await?)
}

/// Refuses a consumer, or its stream, that is not as declared.
pub async fn verify_consumer(
    broker: &Broker,
    stream: &str,
    name: &str,
    topology: &Topology,
) -> Result<(), ServiceError> {
    let (Some(declared), Some((_, consumer))) = (topology.streams.get(stream), topology.consumer(name)) else {
        return Err(ServiceError::permanent("verify streams", format!("{stream}/{name} is not in streams.yaml")));
    };
    let mut differences = match stream_info(broker, stream).await? {
        Some(there) => compare_stream(stream, &there.config, declared),
        None => vec![format!("stream {stream}: missing")],
    };
    if differences.is_empty() {
        differences = diff_consumer(broker, stream, name, consumer).await?;
    }
    refuse(differences)
}

fn refuse(differences: Vec<String>) -> Result<(), ServiceError> {
    if differences.is_empty() {
        return Ok(());
    }
    let what = "the broker is not as schemas/streams.yaml says; run `tickbell streams apply`";
    Err(ServiceError::permanent(what, differences.join("; ")))
}

/// How far a durable consumer is, for `tickbell status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Messages of its subjects that the broker has not had acknowledged.
    pub unacknowledged: u64,
    /// The sequence of the newest message of its subjects; 0 when there is none.
    pub newest: u64,
}

/// Asks the broker how far a durable consumer is.
pub async fn lag(broker: &Broker, topology: &Topology, name: &str) -> Result<Lag, ServiceError> {
    let (stream, declared) = topology
        .consumer(name)
        .ok_or_else(|| ServiceError::permanent("read a consumer's lag", format!("{name} is not in streams.yaml")))?;
    let passing = |error: async_nats::Error| {
        ServiceError::transient(format!("ask for consumer {name} of stream {stream}"), error)
    };
    let handle = broker.jetstream().get_stream_no_info(stream).await.map_err(|error| passing(error.into()))?;
    let newest = match handle.get_last_raw_message_by_subject(&declared.filter).await {
        Ok(message) => message.sequence,
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => 0,
        Err(error) => return Err(passing(error.into())),
    };
    let info = handle.consumer_info(name).await.map_err(|error| passing(error.into()))?;
    Ok(Lag { unacknowledged: info.num_pending + info.num_ack_pending as u64, newest })
}

/// When a stream was made, by the broker's clock.
pub(crate) async fn stream_created(broker: &Broker, name: &str) -> Result<Timestamp, ServiceError> {
    Ok(existing(broker, name).await?.created.into())
}

/// The sequence of the oldest message that a stream still has.
pub(crate) async fn first_sequence(broker: &Broker, name: &str) -> Result<u64, ServiceError> {
    Ok(existing(broker, name).await?.state.first_sequence)
}

/// No message that a stream has is behind this sequence; 0 where it has none.
pub(crate) async fn last_sequence(broker: &Broker, name: &str) -> Result<u64, ServiceError> {
    let passing =
        |error: async_nats::Error| ServiceError::transient(format!("ask for the last message of stream {name}"), error);
    let stream = broker.jetstream().get_stream_no_info(name).await.map_err(|error| passing(error.into()))?;
    match stream.get_last_raw_message_by_subject(">").await {
        // Asked of the leader, so not older than what it has acknowledged, and at less cost than all about the stream.
        Ok(message) => Ok(message.sequence),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
        Err(error) => Err(passing(error.into())),
    }
}

async fn existing(broker: &Broker, name: &str) -> Result<Info, ServiceError> {
    let found = stream_info(broker, name).await?;
    found.ok_or_else(|| ServiceError::permanent(format!("find stream {name}"), "run `tickbell streams apply`"))
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
    let passing = |error: async_nats::Error| {
        ServiceError::transient(format!("ask for consumer {name} of stream {stream}"), error)
    };
    let handle = broker.jetstream().get_stream_no_info(stream).await.map_err(|error| passing(error.into()))?;
    match handle.consumer_info(name).await {
        Ok(there) => {
            let declared = consumer_config(name, declared).into_consumer_config();
            Ok(compare(&format!("{stream}/{name}"), consumer_facts(&there.config), consumer_facts(&declared)))
        }
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
            Ok(vec![format!("consumer {stream}/{name}: missing")])
        }
        Err(error) => Err(passing(error.into())),
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

/// The settings that are compared, as text.
type Facts = BTreeMap<&'static str, String>;

fn stream_facts(config: &Config) -> Facts {
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

fn consumer_facts(config: &consumer::Config) -> Facts {
    BTreeMap::from([
        ("filter", config.filter_subject.clone()),
        ("ack", format!("{:?}", config.ack_policy)),
        ("ack_wait", format!("{:?}", config.ack_wait)),
        ("max_deliver", config.max_deliver.to_string()),
        ("max_ack_pending", config.max_ack_pending.to_string()),
        ("deliver", format!("{:?}", config.deliver_policy)),
    ])
}

fn compare_stream(name: &str, there: &Config, declared: &Stream) -> Vec<String> {
    let mut config = stream_config(name, declared);
    // A cluster keeps more copies than a laptop, and nothing here depends on how many.
    config.num_replicas = config.num_replicas.max(there.num_replicas);
    compare(name, stream_facts(there), stream_facts(&config))
}

fn compare(name: &str, there: Facts, declared: Facts) -> Vec<String> {
    declared
        .iter()
        .filter(|(setting, value)| there.get(*setting) != Some(*value))
        .map(|(setting, value)| format!("{name}: {setting} is {}, declared {value}", there[setting]))
        .collect()
}

/// What of a change could drop stored messages: shorter or smaller limits, and subjects that are no longer taken.
fn losses(there: &Config, declared: &Config) -> Vec<String> {
    let unlimited = |limit: i64| if limit <= 0 { i64::MAX } else { limit };
    let age = |age: Duration| if age.is_zero() { Duration::MAX } else { age };
    let mut losses = Vec::new();
    if unlimited(declared.max_bytes) < unlimited(there.max_bytes) {
        losses.push(format!("max_bytes would shrink from {} to {}", there.max_bytes, declared.max_bytes));
    }
    if unlimited(declared.max_messages_per_subject) < unlimited(there.max_messages_per_subject) {
        losses.push(format!("max_msgs_per_subject would shrink to {}", declared.max_messages_per_subject));
    }
    if age(declared.max_age) < age(there.max_age) {
        losses.push(format!("max_age would shrink from {:?} to {:?}", there.max_age, declared.max_age));
    }
    let gone = there.subjects.iter().filter(|subject| !declared.subjects.contains(subject));
    losses.extend(gone.map(|subject| format!("{subject} would no longer be stored")));
    losses
}

/// The topology as resources of the JetStream controller (NACK), every field written: its defaults are unsafe
/// (memory storage, no acknowledgements).
pub fn export_nack(topology: &Topology) -> Result<String, ServiceError> {
    let mut documents = Vec::new();
    for (name, stream) in &topology.streams {
        documents.push(nack("Stream", name, nack_stream(name, stream)));
        for (consumer, declared) in &stream.consumers {
            documents.push(nack("Consumer", consumer, nack_consumer(name, consumer, declared)));
        }
    }
    let texts: Result<Vec<String>, _> = documents.iter().map(yaml).collect();
    let texts = texts.map_err(|error| ServiceError::permanent("write the streams as YAML", error))?;
    Ok(format!(
        "# Made from schemas/streams.yaml by `tickbell streams export --format nack`.\n---\n{}",
        texts.join("---\n")
    ))
}

/// By way of text: serde_json's numbers keep their digits, and only serde_json knows them as numbers.
fn yaml(document: &Value) -> Result<String, serde_norway::Error> {
    serde_norway::to_string(&serde_norway::from_str::<serde_norway::Value>(&document.to_string())?)
}

/// As Go reads it, which knows no days.
fn go_duration(span: Period) -> String {
    let seconds = span.as_seconds();
    match (seconds % 3_600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3_600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn nack(kind: &str, name: &str, mut spec: Value) -> Value {
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let metadata = json!({ "name": name.to_lowercase(), "labels": { "app.kubernetes.io/part-of": "tickbell" } });
    json!({ "apiVersion": "jetstream.nats.io/v1beta2", "kind": kind, "metadata": metadata, "spec": spec })
}

fn nack_stream(name: &str, stream: &Stream) -> Value {
    json!({
        "name": name,
        "description": stream.description,
        "subjects": stream.subjects,
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "replicas": stream.replicas,
        "maxAge": stream.max_age.map(go_duration),
        "maxBytes": stream.max_bytes.0,
        "maxMsgs": -1,
        "maxMsgsPerSubject": stream.max_msgs_per_subject.unwrap_or(-1),
        "maxMsgSize": stream.max_msg_size.0,
        "maxConsumers": -1,
        "duplicateWindow": go_duration(stream.duplicate_window),
        "compression": match stream.compression { streams::Compression::None => "none", streams::Compression::S2 => "s2" },
        "allowDirect": true,
        "allowAtomicPublish": true,
        "noAck": false,
        "preventDelete": true,
    })
}

fn nack_consumer(stream: &str, name: &str, declared: &Consumer) -> Value {
    json!({
        "streamName": stream,
        "durableName": name,
        "filterSubject": declared.filter,
        "deliverPolicy": "all",
        "replayPolicy": "instant",
        "ackPolicy": match declared.ack { Ack::All => "all", Ack::Explicit => "explicit" },
        "ackWait": go_duration(declared.ack_wait),
        "maxDeliver": declared.max_deliver,
        "maxAckPending": declared.max_ack_pending,
        "preventDelete": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_could_drop_messages_is_named() {
        let topology = Topology::declared().expect("streams.yaml");
        let declared = stream_config("TICKS", &topology.streams["TICKS"]);
        assert!(losses(&declared, &declared).is_empty());
        let larger = Config { max_bytes: -1, max_age: Duration::ZERO, ..declared.clone() };
        assert_eq!(losses(&larger, &declared).len(), 2);
        let wider = Config { subjects: vec!["ticks.>".into(), "feeds.>".into(), "old.>".into()], ..declared.clone() };
        assert_eq!(losses(&wider, &declared), ["old.> would no longer be stored"]);
    }

    #[test]
    fn the_export_names_every_stream_and_consumer() {
        let topology = Topology::declared().expect("streams.yaml");
        let yaml = export_nack(&topology).expect("YAML");
        for (name, stream) in &topology.streams {
            assert!(yaml.contains(&format!("name: {}", name.to_lowercase())), "{name}");
            assert!(stream.consumers.keys().all(|consumer| yaml.contains(&format!("durableName: {consumer}"))));
        }
    }

    #[test]
    fn the_export_is_what_the_controller_reads() {
        let yaml = export_nack(&Topology::declared().expect("streams.yaml")).expect("YAML");
        let ticks = yaml.split("---\n").find(|document| document.contains("name: TICKS")).expect("the tape");
        let ticks: serde_norway::Value = serde_norway::from_str(ticks).expect("YAML");
        assert_eq!(ticks["spec"]["maxBytes"].as_u64(), Some(4 * 1024 * 1024 * 1024));
        assert_eq!(ticks["spec"]["maxAge"].as_str(), Some("24h"));
        assert!(!yaml.contains("null"), "{yaml}");
        assert_eq!(go_duration(Period::seconds(90)), "90s");
        assert_eq!(go_duration(Period::DAY), "24h");
    }
}
