//! The JetStream topology: the streams and consumers of `streams.yaml`, which is compiled in.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::Period;

/// An error in `streams.yaml`; only a change of that file can cause it.
#[derive(Debug, Error)]
#[error("schemas/streams.yaml is not a topology")]
pub struct TopologyError(#[from] serde_norway::Error);

/// All streams and their consumers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The streams by name, like `TICKS`.
    pub streams: BTreeMap<String, Stream>,
}

/// The declaration of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The purpose of the stream.
    pub description: String,
    /// The subjects that the stream stores.
    pub subjects: Vec<String>,
    /// The age at which messages are deleted; none means never.
    #[serde(default)]
    pub max_age: Option<Period>,
    /// The size of the stream at which the oldest messages are deleted.
    pub max_bytes: ByteSize,
    /// The number of messages that are stored per subject; none means all.
    #[serde(default)]
    pub max_msgs_per_subject: Option<i64>,
    /// The size of the largest message.
    pub max_msg_size: ByteSize,
    /// The time for which the server recognises a repeated message id.
    pub duplicate_window: Period,
    /// The compression on disk.
    #[serde(default)]
    pub compression: Compression,
    /// The number of servers that store the stream.
    #[serde(default = "one")]
    pub replicas: usize,
    /// The durable consumers of the stream by name.
    #[serde(default)]
    pub consumers: BTreeMap<String, Consumer>,
}

fn one() -> usize {
    1
}

/// The declaration of a durable pull consumer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// The subjects that it reads.
    pub filter: String,
    /// The messages that an acknowledgement covers.
    pub ack: Ack,
    /// The time after which the broker delivers an unacknowledged message again.
    pub ack_wait: Period,
    /// The number of deliveries of a message; -1 means until it is acknowledged.
    pub max_deliver: i64,
    /// The number of messages that may be unacknowledged.
    pub max_ack_pending: i64,
}

/// The compression of a stream on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Messages are stored as they are.
    #[default]
    None,
    /// S2, a fast variant of Snappy.
    S2,
}

/// The messages that an acknowledgement covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// The message and all before it.
    All,
    /// The message alone.
    Explicit,
}

/// A size, written `64KiB`, `512MiB` or `4GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [("KiB", 10), ("MiB", 20), ("GiB", 30)]
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.parse::<u32>().ok()?, shift)))
            .map(|(number, shift)| Self(u64::from(number) << shift))
            .ok_or_else(|| format!("{text:?} is no size like 64KiB, 512MiB or 4GiB"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Topology {
    /// Returns the topology that was compiled in.
    pub fn declared() -> Result<Self, TopologyError> {
        Self::parse(include_str!("../streams.yaml"))
    }

    /// Reads the topology of another version from the text of its `streams.yaml`.
    pub fn parse(text: &str) -> Result<Self, TopologyError> {
        Ok(serde_norway::from_str(text)?)
    }

    /// Returns the number of durable consumers of all streams.
    pub fn consumers(&self) -> usize {
        self.streams.values().map(|stream| stream.consumers.len()).sum()
    }

    /// Returns the stream and the declaration of a durable consumer. Consumer names are unique across streams.
    pub fn consumer(&self, name: &str) -> Option<(&str, &Consumer)> {
        self.streams.iter().find_map(|(stream, declared)| Some((stream.as_str(), declared.consumers.get(name)?)))
    }
}

impl Period {
    /// Returns the length as a type of the standard library.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.as_seconds() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_topology_reads_and_names_each_consumer_once() {
        let topology = Topology::declared().expect("streams.yaml");
        let names: Vec<_> = topology.streams.values().flat_map(|stream| stream.consumers.keys()).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len());
        for name in names {
            assert!(topology.consumer(name).is_some());
        }
    }

    #[test]
    fn all_streams_together_fit_a_volume_of_ten_gibibytes() {
        let total: u64 = Topology::declared().expect("streams.yaml").streams.values().map(|s| s.max_bytes.0).sum();
        assert!(total < 10 << 30, "{total} bytes");
    }
}
