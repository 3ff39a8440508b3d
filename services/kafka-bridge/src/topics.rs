//! The topics: what `kafka-topics.yaml` declares, and how a cluster differs. This module asks no cluster.

use std::{collections::BTreeMap, fmt};

use events::{Period, streams::ByteSize};
use serde::Deserialize;
use thiserror::Error;

/// An error in `kafka-topics.yaml`; only a change of that file can cause it.
#[derive(Debug, Error)]
#[error("schemas/kafka-topics.yaml declares no topics")]
pub struct TopicsError(#[from] serde_norway::Error);

/// The declared topics by name, without the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topics {
    /// The topics by name.
    pub topics: BTreeMap<String, Topic>,
}

/// The declaration of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The purpose of the topic.
    pub description: String,
    /// The number of partitions.
    pub partitions: usize,
    /// The number of brokers that have a record, where there are so many.
    pub replicas: usize,
    /// How the topic is cleaned up.
    pub cleanup: Cleanup,
    /// The age at which records are deleted; none means never.
    #[serde(default)]
    pub retention: Option<Period>,
    /// The size of the largest batch of records.
    pub max_record: ByteSize,
}

/// How a topic is cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// Records are deleted by their age.
    Delete,
    /// The newest record of each key stays.
    Compact,
}

impl Topics {
    /// Returns the topics that were compiled in.
    pub fn declared() -> Result<Self, TopicsError> {
        Ok(serde_norway::from_str(include_str!("../../../schemas/kafka-topics.yaml"))?)
    }
}

/// How far the time of a record may be after the present: the default of Kafka 4. The times of our records are at most `ticks.max_ahead`
/// after what JetStream's clock said, and the clocks of two systems differ.
const MAX_AHEAD_MS: i64 = 3_600_000;

/// How a setting of a topic is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Exact,
    /// The cluster may have more; -1 is more than any number.
    AtLeast,
}

/// A setting of a topic that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// The name that Kafka has for it.
    pub key: &'static str,
    /// The value that is declared.
    pub value: String,
    comparison: Comparison,
}

impl Topic {
    /// Returns the number of replicas in a cluster with so many brokers.
    pub fn replicas_of(&self, brokers: usize) -> usize {
        self.replicas.min(brokers).max(1)
    }

    /// Returns the settings of the topic in a cluster with so many brokers.
    pub fn configs(&self, brokers: usize) -> Vec<TopicConfig> {
        let exact = |key, value: &str| TopicConfig { key, value: value.to_owned(), comparison: Comparison::Exact };
        let least = |key, value: String| TopicConfig { key, value, comparison: Comparison::AtLeast };
        let policy = match self.cleanup {
            Cleanup::Delete => "delete",
            Cleanup::Compact => "compact",
        };
        let retention = self.retention.map_or(-1, |retention| i64::from(retention.as_seconds()) * 1_000);
        vec![
            exact("cleanup.policy", policy),
            exact("message.timestamp.type", "CreateTime"),
            least("retention.ms", retention.to_string()),
            least("max.message.bytes", self.max_record.0.to_string()),
            least("min.insync.replicas", self.replicas_of(brokers).saturating_sub(1).max(1).to_string()),
            least("message.timestamp.after.max.ms", MAX_AHEAD_MS.to_string()),
            // Recordings are of any age.
            least("message.timestamp.before.max.ms", i64::MAX.to_string()),
        ]
    }
}

impl TopicConfig {
    /// Returns whether a cluster has what is declared, or more where that is allowed.
    fn is_met_by(&self, found: &str) -> bool {
        let number = |text: &str| match text.parse::<i64>() {
            Ok(-1) => Ok(i64::MAX),
            number => number,
        };
        match (self.comparison, number(&self.value), number(found)) {
            (Comparison::AtLeast, Ok(declared), Ok(found)) => found >= declared,
            _ => found == self.value,
        }
    }
}

/// A topic as a cluster has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundTopic {
    /// The number of partitions.
    pub partitions: usize,
    /// The number of replicas of the partition that has the fewest.
    pub replicas: usize,
    /// The settings by name.
    pub configs: BTreeMap<String, String>,
}

/// One way in which a topic of a cluster differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The whole name of the topic.
    pub topic: String,
    /// The property that differs.
    pub what: Differs,
    /// Whether the bridge works nevertheless: somebody has given the topic more.
    pub is_more: bool,
}

/// The property of a topic that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Differs {
    /// There is no such topic.
    Missing,
    /// The number of partitions.
    Partitions {
        /// The number that is declared.
        declared: usize,
        /// The number that was found.
        found: usize,
    },
    /// The number of replicas.
    Replicas {
        /// As declared, for the brokers that there are.
        declared: usize,
        /// The number that was found.
        found: usize,
    },
    /// A setting of the topic.
    Config {
        /// The name of the setting.
        key: &'static str,
        /// The value that is declared.
        declared: String,
        /// The value that was found.
        found: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &self.topic;
        match &self.what {
            Differs::Missing => write!(f, "{topic}: does not exist"),
            Differs::Partitions { declared, found } => {
                write!(f, "{topic}: has {found} partitions, declared is {declared}")
            }
            Differs::Replicas { declared, found } => write!(f, "{topic}: has {found} replicas, declared is {declared}"),
            Differs::Config { key, declared, found } => {
                write!(f, "{topic}: {key} is {found}, declared is {declared}")
            }
        }
    }
}

/// Compares a topic of a cluster with so many brokers with its declaration.
pub fn differences(name: &str, declared: &Topic, found: Option<&FoundTopic>, brokers: usize) -> Vec<Difference> {
    let difference = |what, is_more| Difference { topic: name.to_owned(), what, is_more };
    let Some(found) = found else { return vec![difference(Differs::Missing, false)] };
    let mut differences = Vec::new();
    if found.partitions != declared.partitions {
        let (declared, found) = (declared.partitions, found.partitions);
        differences.push(difference(Differs::Partitions { declared, found }, false));
    }
    let replicas = declared.replicas_of(brokers);
    if found.replicas != replicas {
        let what = Differs::Replicas { declared: replicas, found: found.replicas };
        differences.push(difference(what, found.replicas > replicas));
    }
    for config in declared.configs(brokers) {
        let value = found.configs.get(config.key).map_or("", String::as_str);
        if value != config.value {
            let is_more = config.is_met_by(value);
            let what = Differs::Config { key: config.key, declared: config.value, found: value.to_owned() };
            differences.push(difference(what, is_more));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::MIRRORED;

    fn found(topic: &Topic, brokers: usize) -> FoundTopic {
        let configs = topic.configs(brokers).into_iter().map(|config| (config.key.to_owned(), config.value));
        FoundTopic { partitions: topic.partitions, replicas: topic.replicas_of(brokers), configs: configs.collect() }
    }

    #[test]
    fn each_mirrored_stream_has_a_declared_topic_and_no_other_is_declared() {
        let declared: BTreeSet<_> = Topics::declared().expect("topics").topics.into_keys().collect();
        assert_eq!(declared, MIRRORED.iter().map(|mirrored| mirrored.topic.to_owned()).collect());
    }

    #[test]
    fn what_a_cluster_lacks_differs_from_what_it_has_more_of() {
        let topics = Topics::declared().expect("topics").topics;
        let topic = &topics["ticks.v1"];
        assert_eq!(differences("t", topic, Some(&found(topic, 3)), 3), []);
        assert_eq!(differences("t", topic, None, 3)[0].to_string(), "t: does not exist");
        for (key, value, is_more) in [
            ("retention.ms", "604800000000", true),
            ("retention.ms", "-1", true),
            ("retention.ms", "3600000", false),
            ("max.message.bytes", "1", false),
            ("cleanup.policy", "compact", false),
            ("message.timestamp.type", "LogAppendTime", false),
            ("message.timestamp.after.max.ms", "9223372036854775807", true),
            ("message.timestamp.after.max.ms", "60000", false),
            ("message.timestamp.before.max.ms", "604800000", false),
        ] {
            let mut found = found(topic, 3);
            found.configs.insert(key.to_owned(), value.to_owned());
            let differences = differences("t", topic, Some(&found), 3);
            assert_eq!(differences.len(), 1, "{key}");
            assert_eq!(differences[0].is_more, is_more, "{key} = {value}");
            assert!(differences[0].to_string().starts_with(&format!("t: {key} is {value}, declared is ")));
        }
        let other = FoundTopic { partitions: 6, replicas: 4, ..found(topic, 3) };
        let said: Vec<_> =
            differences("t", topic, Some(&other), 3).iter().map(|d| (d.to_string(), d.is_more)).collect();
        let expected = [("t: has 6 partitions, declared is 12", false), ("t: has 4 replicas, declared is 3", true)];
        assert_eq!(said, expected.map(|(text, is_more)| (text.to_owned(), is_more)));
    }

    #[test]
    fn a_cluster_with_few_brokers_has_fewer_replicas() {
        let topics = Topics::declared().expect("topics").topics;
        let replicas = |brokers| {
            let topic = &topics["dlq.v1"];
            let insync = topic.configs(brokers).into_iter().find(|config| config.key == "min.insync.replicas");
            (topic.replicas_of(brokers), insync.map(|config| config.value))
        };
        assert_eq!(
            [1, 2, 3, 5].map(replicas),
            [(1, "1"), (2, "1"), (3, "2"), (3, "2")].map(|(n, m)| (n, Some(m.into())))
        );
    }
}
