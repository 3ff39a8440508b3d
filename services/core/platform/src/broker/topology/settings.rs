//! The settings with which streams and consumers are created and updated.

use std::fmt::{self, Debug, Formatter};

use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    stream::{Compression, Config, DiscardPolicy},
};
use events::streams::{self, Ack, Consumer, Stream, Topology};

/// Returns the settings with which a stream is created.
pub(super) fn stream_config(name: &str, declared: &Stream) -> Config {
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

/// Returns the settings of a consumer.
pub(super) fn consumer_config(name: &str, declared: &Consumer) -> pull::Config {
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

/// Returns the settings to which a stream is updated. What somebody has enlarged stays, and so does what is not declared:
/// neither deletes messages, and the version that is being replaced may rely on it. A subject that another stream is
/// declared to store goes there.
pub(super) fn updated(actual: &Config, declared: &Config, topology: &Topology) -> Config {
    let others = || topology.streams.iter().filter(|(name, _)| **name != declared.name).flat_map(|(_, s)| &s.subjects);
    let stored_elsewhere = |subject: &String| others().any(|other| covers(other, subject));
    let declared_here = |subject: &String| declared.subjects.iter().any(|stored| covers(stored, subject));
    let mut subjects = actual.subjects.clone();
    subjects.retain(|subject| !declared_here(subject) && !stored_elsewhere(subject));
    let added = declared.subjects.iter().filter(|subject| !subjects.iter().any(|stored| covers(stored, subject)));
    let subjects = added.chain(&subjects).cloned().collect();
    Config {
        subjects,
        description: declared.description.clone(),
        retention: declared.retention,
        storage: declared.storage,
        discard: declared.discard,
        no_ack: declared.no_ack,
        max_age: larger(actual.max_age, declared.max_age),
        max_bytes: larger(actual.max_bytes, declared.max_bytes),
        max_messages: larger(actual.max_messages, declared.max_messages),
        max_messages_per_subject: declared.max_messages_per_subject,
        max_message_size: larger(actual.max_message_size, declared.max_message_size),
        duplicate_window: actual.duplicate_window.max(declared.duplicate_window),
        num_replicas: actual.num_replicas.max(declared.num_replicas),
        compression: declared.compression.clone(),
        allow_direct: declared.allow_direct,
        allow_atomic_publish: declared.allow_atomic_publish,
        ..actual.clone()
    }
}

/// Returns what in an update would delete stored messages, if anything would.
pub(super) fn loss(actual: &Config, updated: &Config) -> Option<String> {
    let (before, after) = (limit(actual.max_messages_per_subject), limit(updated.max_messages_per_subject));
    (!after.covers(before)).then(|| format!("max_msgs_per_subject would shrink from {before:?} to {after:?}"))
}

/// A limit of a stream; none means unlimited.
#[derive(Clone, Copy)]
pub(super) struct Limit<T>(Option<T>);

impl<T: Ord> Limit<T> {
    /// Whether everything fits that fits a declared limit.
    pub(super) fn covers(&self, declared: Self) -> bool {
        match (&self.0, declared.0) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(actual), Some(declared)) => *actual >= declared,
        }
    }
}

impl<T: Debug> Debug for Limit<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("unlimited"),
        }
    }
}

/// Reads a limit as the server writes it: 0 and less mean unlimited.
pub(super) fn limit<T: Ord + Default>(written: T) -> Limit<T> {
    Limit(Some(written).filter(|limit| *limit > T::default()))
}

fn larger<T: Ord + Copy + Default>(actual: T, declared: T) -> T {
    if limit(actual).covers(limit(declared)) { actual } else { declared }
}

/// Whether a pattern of subjects covers another one, or a subject.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(wide), Some(narrow)) if wide == narrow => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A topology for the tests of this folder.
    pub(in super::super) fn topology() -> Topology {
        Topology::parse(
            "
            streams:
              TICKS:
                description: The tape.
                subjects: [ticks.>, feeds.>]
                max_age: 24h
                max_bytes: 1GiB
                max_msg_size: 64KiB
                duplicate_window: 2m
                consumers:
                  prices: { filter: ticks.>, ack: all, ack_wait: 60s, max_deliver: -1, max_ack_pending: 100 }
                  all: { filter: '>', ack: all, ack_wait: 60s, max_deliver: -1, max_ack_pending: 100 }
              RULES:
                description: The last change of each rule.
                subjects: [rules.>]
                max_msgs_per_subject: 1
                max_bytes: 1GiB
                max_msg_size: 64KiB
                duplicate_window: 2m
            ",
        )
        .expect("a topology")
    }

    #[test]
    fn a_pattern_covers_what_it_matches() {
        for (wide, narrow, expected) in [
            ("ticks.>", "ticks.>", true),
            ("ticks.>", "ticks.a.b", true),
            ("ticks.>", "ticks", false),
            ("ticks.>", "feeds.>", false),
            (">", "ticks.>", true),
            ("ticks.*", "ticks.a", true),
            ("ticks.*", "ticks.*", true),
            ("ticks.*", "ticks.>", false),
            ("ticks.*", "ticks.a.b", false),
            ("ticks.*.>", "ticks.>", false),
            ("ticks.a", "ticks.*", false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn an_update_leaves_what_somebody_has_enlarged() {
        let topology = topology();
        let declared = stream_config("TICKS", &topology.streams["TICKS"]);
        let enlarged = Config {
            subjects: ["ticks.>", "later.>", "rules.old", "feeds.a"].map(str::to_owned).into(),
            max_age: Duration::ZERO,
            max_bytes: 1 << 40,
            max_messages: 10,
            max_message_size: 1_024,
            duplicate_window: HOUR,
            num_replicas: 3,
            discard: DiscardPolicy::New,
            allow_atomic_publish: false,
            deny_purge: true,
            ..declared.clone()
        };
        let expected = Config {
            subjects: ["ticks.>", "feeds.>", "later.>"].map(str::to_owned).into(),
            max_messages: -1,
            max_message_size: declared.max_message_size,
            discard: DiscardPolicy::Old,
            allow_atomic_publish: true,
            ..enlarged.clone()
        };
        assert_eq!(updated(&enlarged, &declared, &topology), expected);
        assert_eq!(updated(&declared, &declared, &topology), declared);
        assert!(loss(&enlarged, &expected).is_none());
        let wider = Config { subjects: vec![">".into()], ..declared.clone() };
        assert_eq!(updated(&wider, &declared, &topology).subjects, [">"], "subjects of one stream do not overlap");
    }

    #[test]
    fn a_change_that_would_delete_messages_is_named() {
        let topology = topology();
        let declared = stream_config("RULES", &topology.streams["RULES"]);
        let all = Config { max_messages_per_subject: -1, ..declared.clone() };
        let found = loss(&all, &updated(&all, &declared, &topology));
        assert_eq!(found.as_deref(), Some("max_msgs_per_subject would shrink from unlimited to 1"));
        assert_eq!(loss(&declared, &all), None);
    }
}
