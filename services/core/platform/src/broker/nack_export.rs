//! The declared streams as resources of the JetStream controller for Kubernetes (NACK).

use events::{
    Period,
    streams::{self, Ack, Consumer, Stream, Topology},
};
use serde_json::{Value, json};

use crate::ServiceError;

/// Returns the topology as YAML documents. Every field is written, also one that sets no limit, because the controller's
/// own values are unsafe: memory storage, no acknowledgements, and in its control loop a year of age.
pub fn export(topology: &Topology) -> Result<String, ServiceError> {
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
        "# Generated from schemas/streams.yaml by `tickbell streams export --format nack`.\n---\n{}",
        texts.join("---\n")
    ))
}

/// Converts by way of text: with exact digits enabled, only serde_json itself reads its numbers as numbers.
fn yaml(document: &Value) -> Result<String, serde_norway::Error> {
    serde_norway::to_string(&serde_norway::from_str::<serde_norway::Value>(&document.to_string())?)
}

/// Writes a duration as Go parses it, which has no unit for days.
fn go_duration(period: Period) -> String {
    let seconds = period.as_seconds();
    match (seconds % 3_600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3_600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn nack(kind: &str, name: &str, spec: Value) -> Value {
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
        "maxAge": stream.max_age.map_or_else(|| "0s".to_owned(), go_duration),
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
    fn the_export_names_every_stream_and_consumer() {
        let topology = Topology::declared().expect("streams.yaml");
        let yaml = export(&topology).expect("YAML");
        for (name, stream) in &topology.streams {
            assert!(yaml.contains(&format!("name: {}", name.to_lowercase())), "{name}");
            assert!(stream.consumers.keys().all(|consumer| yaml.contains(&format!("durableName: {consumer}"))));
        }
    }

    #[test]
    fn every_field_is_written_that_the_controller_has_a_value_for() {
        let stream = "allowAtomicPublish allowDirect compression description discard duplicateWindow maxAge maxBytes maxConsumers \
                      maxMsgSize maxMsgs maxMsgsPerSubject name noAck preventDelete replicas retention storage subjects";
        let consumer = "ackPolicy ackWait deliverPolicy durableName filterSubject maxAckPending maxDeliver preventDelete \
                        replayPolicy streamName";
        let yaml = export(&Topology::declared().expect("streams.yaml")).expect("YAML");
        for document in yaml.split("---\n").skip(1) {
            let document: serde_norway::Value = serde_norway::from_str(document).expect("YAML");
            let fields = document["spec"].as_mapping().expect("fields").keys().filter_map(|field| field.as_str());
            let mut fields: Vec<_> = fields.collect();
            fields.sort_unstable();
            let wanted = if document["kind"].as_str() == Some("Stream") { stream } else { consumer };
            assert_eq!(fields, wanted.split_whitespace().collect::<Vec<_>>(), "{document:?}");
        }
        let rules = yaml.split("---\n").find(|document| document.contains("name: RULES")).expect("the stream RULES");
        assert!(rules.contains("maxAge: 0s"), "no age is written as the one that means none: {rules}");
    }

    #[test]
    fn the_export_is_what_the_controller_reads() {
        let yaml = export(&Topology::declared().expect("streams.yaml")).expect("YAML");
        let ticks = yaml.split("---\n").find(|document| document.contains("name: TICKS")).expect("the stream TICKS");
        let ticks: serde_norway::Value = serde_norway::from_str(ticks).expect("YAML");
        assert_eq!(ticks["spec"]["maxBytes"].as_u64(), Some(4 * 1024 * 1024 * 1024));
        assert_eq!(ticks["spec"]["maxAge"].as_str(), Some("24h"));
        assert!(!yaml.contains("null"), "{yaml}");
        assert_eq!(go_duration(Period::seconds(90)), "90s");
        assert_eq!(go_duration(Period::DAY), "24h");
    }
}
