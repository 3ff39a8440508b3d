//! The JetStream topology, read from `streams.yaml`, which is compiled in.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::Period;

/// `streams.yaml` is not as it must be; only a change to that file can cause it.
#[derive(Debug, Error)]
#[error("schemas/streams.yaml is not a topology")]
pub struct TopologyError(#[from] serde_norway::Error);

/// All streams by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// By name, like `TICKS`.
    pub streams: BTreeMap<String, Stream>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// What it is for.
    pub description: String,
    /// What it stores.
    pub subjects: Vec<String>,
    /// How long; none means for ever.
    #[serde(default)]
    pub max_age: Option<Period>,
    /// How much.
    pub max_bytes: Bytes,
    /// How many messages of one subject; none means all.
    #[serde(default)]
    pub max_msgs_per_subject: Option<i64>,
    /// The largest message.
    pub max_msg_size: Bytes,
    /// How long a repeated message id is recognised.
    pub duplicate_window: Period,
    /// How blocks are kept on disk.
    #[serde(default)]
    pub compression: Compression,
    /// On how many servers.
    #[serde(default = "one")]
    pub replicas: usize,
    /// Its durable consumers by name.
    #[serde(default)]
    pub consumers: BTreeMap<String, Consumer>,
}

fn one() -> usize {
    1
}

/// One durable pull consumer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Which subjects.
    pub filter: String,
    /// What an acknowledgement covers.
    pub ack: Ack,
    /// How long the broker waits for one.
    pub ack_wait: Period,
    /// How often a message is delivered at most; -1 means until it is acknowledged.
    pub max_deliver: i64,
    /// How many messages may be unacknowledged.
    pub max_ack_pending: i64,
}

/// How blocks are kept on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// S2, a fast Snappy.
    S2,
}

/// What an acknowledgement covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// The message and all before it.
    All,
    /// The message alone.
    Explicit,
}

/// A size in bytes, written `64KiB`, `512MiB` or `4GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [("KiB", 10), ("MiB", 20), ("GiB", 30)]
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.parse::<u32>().ok()?, shift)))
            .map(|(number, shift)| Self(u64::from(number) << shift))
            .ok_or_else(|| format!("{text:?} is no size like 64KiB, 512MiB or 4GiB"))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Topology {
    /// The topology that this build was made with.
    pub fn declared() -> Result<Self, TopologyError> {
        Ok(serde_norway::from_str(include_str!("../streams.yaml"))?)
    }

    /// The stream and declaration of a durable consumer. Consumer names are unique across streams.
    pub fn consumer(&self, name: &str) -> Option<(&str, &Consumer)> {
        self.streams.iter().find_map(|(stream, declared)| Some((stream.as_str(), declared.consumers.get(name)?)))
    }
}

impl Period {
    /// The same length as the standard library has it.
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
