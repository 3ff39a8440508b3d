//! How a stream or a consumer on the server differs from its declaration, and whether a process can run with that.
//!
//! A process relies on a part of a declaration: that its subjects are stored, what its consumers deliver, and that nothing
//! leaves a stream earlier than declared. A limit that somebody has raised, a subject that a later version has added, and
//! whatever else the program works without are no reason to end: the version before must start against the streams of this
//! one, and this one against streams that were enlarged.

use std::{
    collections::BTreeSet,
    fmt::{self, Debug, Display, Formatter},
};

use async_nats::jetstream::{
    consumer::{self, IntoConsumerConfig},
    stream::{Compression, Config},
};
use events::streams::{Consumer, Stream, Topology};

use super::settings::{consumer_config, covers, limit, stream_config};

/// What a process uses of the streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses<'a> {
    /// The subjects that it publishes to, which may have wildcards.
    pub publishes: Vec<&'a str>,
    /// Its durable consumers.
    pub consumers: Vec<&'a str>,
}

impl<'a> Uses<'a> {
    /// Returns the uses of a process that publishes and reads everything that is declared.
    pub fn everything(topology: &'a Topology) -> Self {
        let streams = topology.streams.values();
        Self {
            publishes: streams.clone().flat_map(|stream| &stream.subjects).map(String::as_str).collect(),
            consumers: streams.flat_map(|stream| stream.consumers.keys()).map(String::as_str).collect(),
        }
    }

    /// Returns the subjects that a stream must store for the process; none where the process does not use the stream.
    pub(super) fn subjects<'b>(&'b self, declared: &'b Stream) -> BTreeSet<&'b str> {
        let consumers = declared.consumers.iter().filter(|(name, _)| self.consumers.contains(&name.as_str()));
        let filters = consumers.map(|(_, consumer)| consumer.filter.as_str());
        let used = filters.chain(self.publishes.iter().copied());
        let common = |used: &'b str| {
            declared.subjects.iter().filter_map(move |stored| {
                let narrower = if covers(used, stored) { stored } else { used };
                covers(stored, narrower).then_some(narrower)
            })
        };
        used.flat_map(common).collect()
    }
}

/// Whether a process can run with a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The stream or the consumer does not exist.
    Missing,
    /// A process that uses the stream or the consumer cannot rely on it.
    Error,
    /// Every process can run with it.
    Warning,
}

/// A difference between the server and the declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The stream, or the stream of the consumer.
    pub stream: String,
    /// The name of the stream, or of stream and consumer.
    pub of: String,
    /// What the server has, and what is declared.
    pub detail: String,
    /// Whether a process can run with it.
    pub severity: Severity,
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of, self.detail)
    }
}

impl Difference {
    pub(super) fn missing(stream: &str, of: String) -> Self {
        Self { stream: stream.to_owned(), of, detail: "missing".to_owned(), severity: Severity::Missing }
    }
}

/// Returns how a stream differs from its declaration, given the subjects that it must store.
pub(super) fn compare_stream(
    name: &str,
    actual: &Config,
    declared: &Stream,
    needed: &BTreeSet<&str>,
) -> Vec<Difference> {
    let declared = stream_config(name, declared);
    let mut differences = Differences::new(name, name.to_owned());
    let stores = |subject: &&str| actual.subjects.iter().any(|stored| covers(stored, subject));
    let subjects = |config: &Config| config.subjects.iter().cloned().collect::<BTreeSet<_>>();
    let severity = if needed.iter().all(stores) { Severity::Warning } else { Severity::Error };
    let joined = |config: &Config| subjects(config).into_iter().collect::<Vec<_>>().join(", ");
    differences.add("subjects", joined(actual), joined(&declared), severity);
    differences.exactly("retention", actual.retention, declared.retention);
    differences.exactly("storage", actual.storage, declared.storage);
    differences.exactly("discard", actual.discard, declared.discard);
    differences.exactly("no_ack", actual.no_ack, declared.no_ack);
    differences.exactly("allow_atomic", actual.allow_atomic_publish, declared.allow_atomic_publish);
    let per_subject = |config: &Config| limit(config.max_messages_per_subject);
    differences.exactly("max_msgs_per_subject", per_subject(actual), per_subject(&declared));
    differences.at_least("max_age", actual.max_age, declared.max_age);
    differences.at_least("max_bytes", actual.max_bytes, declared.max_bytes);
    differences.at_least("max_msgs", actual.max_messages, declared.max_messages);
    differences.at_least("max_msg_size", actual.max_message_size, declared.max_message_size);
    // Repeats are recognised by their ids everywhere; the window only spares the work.
    differences.freely("duplicate_window", actual.duplicate_window, declared.duplicate_window);
    // A cluster has more replicas than a laptop.
    differences.freely("replicas", actual.num_replicas, declared.num_replicas.max(actual.num_replicas));
    let compression = |config: &Config| config.compression.clone().unwrap_or(Compression::None);
    differences.freely("compression", compression(actual), compression(&declared));
    differences.freely("allow_direct", actual.allow_direct, declared.allow_direct);
    differences.found
}

/// Returns how a consumer differs from its declaration.
pub(super) fn compare_consumer(
    stream: &str,
    name: &str,
    actual: &consumer::Config,
    declared: &Consumer,
) -> Vec<Difference> {
    let declared = consumer_config(name, declared).into_consumer_config();
    let mut differences = Differences::new(stream, format!("{stream}/{name}"));
    differences.add("filter", filters(actual), filters(&declared), Severity::Error);
    differences.exactly("ack", actual.ack_policy, declared.ack_policy);
    differences.exactly("deliver", actual.deliver_policy, declared.deliver_policy);
    differences.exactly("headers_only", actual.headers_only, declared.headers_only);
    // A consumer is reset to the position of the database, so none of these skips or repeats a message.
    differences.freely("ack_wait", actual.ack_wait, declared.ack_wait);
    differences.freely("max_deliver", actual.max_deliver, declared.max_deliver);
    differences.freely("max_ack_pending", actual.max_ack_pending, declared.max_ack_pending);
    differences.found
}

/// The differences of one stream or consumer.
struct Differences {
    stream: String,
    of: String,
    found: Vec<Difference>,
}

impl Differences {
    fn new(stream: &str, of: String) -> Self {
        Self { stream: stream.to_owned(), of, found: Vec::new() }
    }

    /// Compares what a process relies on.
    fn exactly<T: Debug>(&mut self, setting: &str, actual: T, declared: T) {
        self.add(setting, format!("{actual:?}"), format!("{declared:?}"), Severity::Error);
    }

    /// Compares a limit that may be greater than declared.
    fn at_least<T: Ord + Copy + Default + Debug>(&mut self, setting: &str, actual: T, declared: T) {
        let (actual, declared) = (limit(actual), limit(declared));
        let severity = if actual.covers(declared) { Severity::Warning } else { Severity::Error };
        self.add(setting, format!("{actual:?}"), format!("{declared:?}"), severity);
    }

    /// Compares what no process relies on.
    fn freely<T: Debug>(&mut self, setting: &str, actual: T, declared: T) {
        self.add(setting, format!("{actual:?}"), format!("{declared:?}"), Severity::Warning);
    }

    fn add(&mut self, setting: &str, actual: String, declared: String, severity: Severity) {
        if actual != declared {
            let detail = format!("{setting} is {actual}, declared {declared}");
            let (stream, of) = (self.stream.clone(), self.of.clone());
            self.found.push(Difference { stream, of, detail, severity });
        }
    }
}

/// Returns the subjects that a consumer reads, however they are written.
fn filters(config: &consumer::Config) -> String {
    let written = config.filter_subjects.iter().chain([&config.filter_subject]);
    let mut filters: Vec<&str> = written.map(String::as_str).filter(|filter| !filter.is_empty()).collect();
    filters.sort_unstable();
    if filters.is_empty() { ">".to_owned() } else { filters.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use Severity::{Error, Warning};
    use async_nats::jetstream::{
        consumer::{AckPolicy, DeliverPolicy},
        stream::{DiscardPolicy, RetentionPolicy, StorageType},
    };

    use super::{super::settings::tests::topology, *};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn severities(differences: &[Difference]) -> Vec<(String, Severity)> {
        differences.iter().map(|difference| (difference.to_string(), difference.severity)).collect()
    }

    #[test]
    fn a_process_needs_the_subjects_that_it_publishes_and_reads() {
        let topology = topology();
        let of = |stream: &str, publishes: &[&str], consumers: &[&str]| {
            let uses = Uses { publishes: publishes.to_vec(), consumers: consumers.to_vec() };
            uses.subjects(&topology.streams[stream]).into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("TICKS", &["ticks.>"], &[]), "ticks.>");
        assert_eq!(of("TICKS", &["feeds.mine"], &["prices"]), "feeds.mine ticks.>");
        assert_eq!(of("TICKS", &[], &["all"]), "feeds.> ticks.>");
        assert_eq!(of("TICKS", &["rules.>", "other"], &["else"]), "");
        assert_eq!(of("RULES", &["rules.>"], &["all"]), "rules.>");
        let everything = Uses::everything(&topology);
        assert_eq!(everything.subjects(&topology.streams["TICKS"]), BTreeSet::from(["feeds.>", "ticks.>"]));
        assert_eq!(everything.consumers, ["all", "prices"]);
    }

    #[test]
    fn a_process_ends_for_what_it_relies_on_and_for_nothing_else() {
        let topology = topology();
        let declared = &topology.streams["TICKS"];
        let same = stream_config("TICKS", declared);
        let with = |change: fn(&mut Config)| {
            let mut changed = same.clone();
            change(&mut changed);
            changed
        };
        let subjects = |subjects: &[&str]| Config {
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
            ..same.clone()
        };
        for (setting, actual, expected) in [
            ("", same.clone(), None),
            ("", subjects(&["feeds.>", "ticks.>"]), None),
            ("subjects", subjects(&["ticks.>", "feeds.>", "later.>"]), Some(Warning)),
            ("subjects", subjects(&["ticks.>"]), Some(Warning)),
            ("subjects", subjects(&["feeds.>"]), Some(Error)),
            ("subjects", subjects(&["ticks.*", "feeds.>"]), Some(Error)),
            ("retention", with(|config| config.retention = RetentionPolicy::WorkQueue), Some(Error)),
            ("storage", with(|config| config.storage = StorageType::Memory), Some(Error)),
            ("discard", with(|config| config.discard = DiscardPolicy::New), Some(Error)),
            ("no_ack", with(|config| config.no_ack = true), Some(Error)),
            ("allow_atomic", with(|config| config.allow_atomic_publish = false), Some(Error)),
            ("max_msgs_per_subject", with(|config| config.max_messages_per_subject = 9), Some(Error)),
            ("max_age", with(|config| config.max_age = HOUR), Some(Error)),
            ("max_age", with(|config| config.max_age = 30 * HOUR), Some(Warning)),
            ("max_age", with(|config| config.max_age = Duration::ZERO), Some(Warning)),
            ("max_bytes", with(|config| config.max_bytes = 1 << 20), Some(Error)),
            ("max_bytes", with(|config| config.max_bytes = 1 << 40), Some(Warning)),
            ("max_bytes", with(|config| config.max_bytes = -1), Some(Warning)),
            ("max_msgs", with(|config| config.max_messages = 1_000_000), Some(Error)),
            ("max_msg_size", with(|config| config.max_message_size = 1_024), Some(Error)),
            ("max_msg_size", with(|config| config.max_message_size = -1), Some(Warning)),
            ("duplicate_window", with(|config| config.duplicate_window = HOUR), Some(Warning)),
            ("replicas", with(|config| config.num_replicas = 3), None),
            ("compression", with(|config| config.compression = Some(Compression::S2)), Some(Warning)),
            ("allow_direct", with(|config| config.allow_direct = false), Some(Warning)),
            ("metadata", with(|config| _ = config.metadata.insert("owner".into(), "ops".into())), None),
        ] {
            let found = severities(&compare_stream("TICKS", &actual, declared, &BTreeSet::from(["ticks.>"])));
            assert_eq!(found.first().map(|(_, severity)| *severity), expected, "{setting}: {found:?}");
            assert!(found.iter().all(|(text, _)| text.starts_with(&format!("TICKS: {setting} is "))), "{found:?}");
            assert!(found.len() < 2, "{found:?}");
        }
        let rules = &topology.streams["RULES"];
        let all = Config { max_messages_per_subject: -1, ..stream_config("RULES", rules) };
        let found = severities(&compare_stream("RULES", &all, rules, &BTreeSet::from(["rules.>"])));
        assert_eq!(found, [("RULES: max_msgs_per_subject is unlimited, declared 1".into(), Error)]);
    }

    #[test]
    fn a_consumer_must_deliver_what_is_declared() {
        let topology = topology();
        let declared = &topology.streams["TICKS"].consumers["prices"];
        let same = consumer_config("prices", declared).into_consumer_config();
        let with = |change: fn(&mut consumer::Config)| {
            let mut changed = same.clone();
            change(&mut changed);
            changed
        };
        let ticks = || vec!["ticks.>".to_owned()];
        let as_list = consumer::Config { filter_subjects: ticks(), filter_subject: String::new(), ..same.clone() };
        for (setting, actual, expected) in [
            ("", same.clone(), None),
            ("", as_list, None),
            ("filter", with(|config| config.filter_subject = "feeds.>".into()), Some(Error)),
            ("filter", with(|config| config.filter_subject = String::new()), Some(Error)),
            ("ack", with(|config| config.ack_policy = AckPolicy::None), Some(Error)),
            ("deliver", with(|config| config.deliver_policy = DeliverPolicy::New), Some(Error)),
            ("headers_only", with(|config| config.headers_only = true), Some(Error)),
            ("ack_wait", with(|config| config.ack_wait = HOUR), Some(Warning)),
            ("max_deliver", with(|config| config.max_deliver = 3), Some(Warning)),
            ("max_ack_pending", with(|config| config.max_ack_pending = 1), Some(Warning)),
        ] {
            let found = severities(&compare_consumer("TICKS", "prices", &actual, declared));
            assert_eq!(found.first().map(|(_, severity)| *severity), expected, "{setting}: {found:?}");
            assert!(
                found.iter().all(|(text, _)| text.starts_with(&format!("TICKS/prices: {setting} is "))),
                "{found:?}"
            );
        }
        let all = &topology.streams["TICKS"].consumers["all"];
        let unwritten =
            consumer::Config { filter_subject: String::new(), ..consumer_config("all", all).into_consumer_config() };
        assert_eq!(compare_consumer("TICKS", "all", &unwritten, all), [], "no filter is the filter >");
    }
}
