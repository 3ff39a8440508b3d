//! The streams that are mirrored. Rules, orders and users are not: what they say is for this system alone, and it has addresses.

/// A stream that is mirrored to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored {
    /// The name of the stream.
    pub stream: &'static str,
    /// The durable consumer that reads it, which is also the name of the lease and of the check.
    pub consumer: &'static str,
    /// The topic, without the prefix.
    pub topic: &'static str,
}

impl Mirrored {
    /// Returns the whole name of the topic.
    pub fn topic(&self, topic_prefix: &str) -> String {
        format!("{topic_prefix}{}", self.topic)
    }

    /// Returns the id of the producer's transactions, which is also the consumer group that has the position. One shard reads all of a
    /// stream. Two prefixes never have one id, because installations that share one would fence each other for ever: what stands before
    /// `-kafka-bridge-` had a dot at its end, and what stands before `.kafka-bridge-` is the whole prefix.
    pub fn transactional_id(&self, topic_prefix: &str) -> String {
        let (owner, separator) = match topic_prefix.strip_suffix('.') {
            Some(owner) => (owner, '-'),
            None => (topic_prefix, '.'),
        };
        format!("{owner}{separator}kafka-bridge-{}-0", self.stream)
    }
}

/// All mirrored streams.
pub const MIRRORED: [Mirrored; 7] = [
    Mirrored { stream: "TICKS", consumer: "kafka-bridge", topic: "ticks.v1" },
    Mirrored { stream: "CANDLES", consumer: "kafka-bridge-candles", topic: "candles.v1" },
    Mirrored { stream: "FEEDS", consumer: "kafka-bridge-feeds", topic: "feed-gaps.v1" },
    Mirrored { stream: "ALERTS", consumer: "kafka-bridge-alerts", topic: "alerts.v1" },
    Mirrored { stream: "TRADES", consumer: "kafka-bridge-trades", topic: "trades.v1" },
    Mirrored { stream: "DELIVERIES", consumer: "kafka-bridge-deliveries", topic: "deliveries.v1" },
    Mirrored { stream: "DLQ", consumer: "kafka-bridge-dlq", topic: "dlq.v1" },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::streams::Topology;

    use super::*;

    #[test]
    fn the_consumer_of_each_mirrored_stream_reads_all_of_it() {
        let topology = Topology::declared().expect("streams.yaml");
        for mirrored in MIRRORED {
            let (stream, consumer) = topology.consumer(mirrored.consumer).expect(mirrored.consumer);
            assert_eq!(stream, mirrored.stream);
            assert_eq!(topology.streams[stream].subjects, [consumer.filter.as_str()]);
        }
    }

    #[test]
    fn installations_with_prefixes_of_their_own_do_not_fence_each_other() {
        let id = |prefix| MIRRORED[0].transactional_id(prefix);
        // Those of installations that are there stay.
        assert_eq!(["tickbell.", "prices."].map(id), ["tickbell-kafka-bridge-TICKS-0", "prices-kafka-bridge-TICKS-0"]);
        let prefixes = [
            "",
            ".",
            "-",
            "_",
            "..",
            "a",
            "a.",
            "a-",
            "a_",
            "a..",
            "a-.",
            "a.-",
            "tickbell",
            "tickbell.",
            "tickbell-",
            "tickbell.kafka-bridge-TICKS-0",
            "tickbell-kafka-bridge-TICKS-0.",
        ];
        let ids: BTreeSet<String> =
            prefixes.iter().flat_map(|prefix| MIRRORED.iter().map(|one| one.transactional_id(prefix))).collect();
        assert_eq!(ids.len(), prefixes.len() * MIRRORED.len(), "{ids:?}");
    }
}
