//! The topics of a cluster: compared with what is declared, created and changed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{
    Settings,
    kafka::{
        KafkaFailure,
        client::{Reports, config},
    },
    topics::{Difference, Differs, FoundTopic, Topic, Topics, differences},
};

/// The longest wait for an answer about topics.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The wait before the topics are looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What was found and done about the topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicsReport {
    /// The topics that were created.
    pub created: Vec<String>,
    /// The topics of which settings were changed.
    pub changed: Vec<String>,
    /// The ways in which the topics still differ.
    pub differences: Vec<Difference>,
}

struct Cluster {
    admin: AdminClient<Reports>,
    brokers: usize,
    topics: BTreeMap<String, (Topic, Option<FoundTopic>)>,
    /// The settings of each topic that somebody has given it.
    own_configs: BTreeMap<String, BTreeMap<String, String>>,
}

/// Lists how the topics differ from what is declared.
pub async fn diff_topics(settings: &Settings) -> Result<Vec<Difference>, KafkaFailure> {
    Ok(Cluster::read(settings).await?.differences())
}

/// Creates missing topics, and refuses those that the bridge cannot work with. What somebody has given more is a warning.
pub async fn prepare_topics(settings: &Settings) -> Result<(), KafkaFailure> {
    let cluster = Cluster::read(settings).await?;
    let created = cluster.create_missing().await?;
    for topic in created {
        info!(topic, "created the topic");
    }
    let found = differences_after_creation(settings).await?;
    let (more, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|difference| difference.is_more);
    for difference in more {
        warn!(%difference, "a topic has more than declared");
    }
    if other.is_empty() { Ok(()) } else { Err(KafkaFailure::Topics(other)) }
}

/// Creates missing topics, and changes the settings of the others to what is declared. The number of partitions stays, because it
/// decides where the records of a key go; so do replicas, which are moved by a tool of Kafka.
pub async fn apply_topics(settings: &Settings) -> Result<TopicsReport, KafkaFailure> {
    let cluster = Cluster::read(settings).await?;
    let created = cluster.create_missing().await?;
    let changed = cluster.change_configs().await?;
    let differences = differences_after_creation(settings).await?;
    Ok(TopicsReport { created, changed, differences })
}

/// Returns what differs once all brokers know of topics that were just created.
async fn differences_after_creation(settings: &Settings) -> Result<Vec<Difference>, KafkaFailure> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let found = Cluster::read(settings).await.map(|cluster| cluster.differences());
        let is_known =
            matches!(&found, Ok(found) if found.iter().all(|difference| difference.what != Differs::Missing));
        if is_known || Instant::now() >= until {
            return found;
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Cluster {
    async fn read(settings: &Settings) -> Result<Self, KafkaFailure> {
        let declared = Topics::declared()?.topics;
        let (client, prefix) = ("tickbell-kafka-topics", &settings.topic_prefix);
        let admin: AdminClient<Reports> = config(settings, client)?
            .create_with_context(Reports::new(client))
            .map_err(KafkaFailure::call("connect"))?;
        let admin = Arc::new(admin);
        let asked = Arc::clone(&admin);
        let metadata = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(None, TIMEOUT));
        let metadata =
            metadata.await.map_err(KafkaFailure::Panicked)?.map_err(KafkaFailure::call("list the topics"))?;
        let admin = Arc::into_inner(admin).ok_or_else(|| KafkaFailure::NoLeader(client.to_owned()))?;
        let mut cluster =
            Self { admin, brokers: metadata.brokers().len(), topics: BTreeMap::new(), own_configs: BTreeMap::new() };
        for (name, topic) in declared {
            let name = format!("{prefix}{name}");
            let found = metadata.topics().iter().find(|found| found.name() == name && !found.partitions().is_empty());
            let found = found.map(|found| FoundTopic {
                partitions: found.partitions().len(),
                replicas: found.partitions().iter().map(|one| one.replicas().len()).min().unwrap_or_default(),
                configs: BTreeMap::new(),
            });
            cluster.topics.insert(name, (topic, found));
        }
        cluster.read_configs().await?;
        Ok(cluster)
    }

    async fn read_configs(&mut self) -> Result<(), KafkaFailure> {
        let found: Vec<String> =
            self.topics.iter().filter(|(_, (_, found))| found.is_some()).map(|(name, _)| name.clone()).collect();
        if found.is_empty() {
            return Ok(());
        }
        let resources: Vec<_> = found.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let described = self.admin.describe_configs(&resources, &options).await;
        let described = described.map_err(KafkaFailure::call("read the settings of the topics"))?;
        for (name, described) in found.into_iter().zip(described) {
            let action = format!("read the settings of topic {name}");
            let described = described.map_err(|code| KafkaFailure::call(action)(KafkaError::AdminOp(code)))?;
            let own = described.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
            let own = own.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect();
            self.own_configs.insert(name.clone(), own);
            let configs = described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
            if let Some((_, Some(found))) = self.topics.get_mut(&name) {
                found.configs = configs;
            }
        }
        Ok(())
    }

    fn differences(&self) -> Vec<Difference> {
        let each = |(name, (topic, found)): (&String, &(Topic, Option<FoundTopic>))| {
            differences(name, topic, found.as_ref(), self.brokers)
        };
        self.topics.iter().flat_map(each).collect()
    }

    async fn create_missing(&self) -> Result<Vec<String>, KafkaFailure> {
        let mut created = Vec::new();
        for (name, (topic, _)) in self.topics.iter().filter(|(_, (_, found))| found.is_none()) {
            let configs = topic.configs(self.brokers);
            let replicas = TopicReplication::Fixed(i32::try_from(topic.replicas_of(self.brokers)).unwrap_or(1));
            let partitions = i32::try_from(topic.partitions).unwrap_or(1);
            let new = configs
                .iter()
                .fold(NewTopic::new(name, partitions, replicas), |new, config| new.set(config.key, &config.value));
            let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
            let action = format!("create topic {name}");
            let answers = self.admin.create_topics([&new], &options).await;
            for answer in answers.map_err(KafkaFailure::call(action.as_str()))? {
                match answer {
                    Ok(_) => created.push(name.clone()),
                    // Another instance was faster.
                    Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                    Err((_, code)) => return Err(KafkaFailure::call(action)(KafkaError::AdminOp(code))),
                }
            }
        }
        Ok(created)
    }

    async fn change_configs(&self) -> Result<Vec<String>, KafkaFailure> {
        let mut changed = Vec::new();
        for (name, (topic, found)) in &self.topics {
            let found = differences(name, topic, found.as_ref(), self.brokers);
            let is_wanted = |d: &Difference| matches!(d.what, Differs::Config { .. }) && !d.is_more;
            if !found.iter().any(is_wanted) {
                continue;
            }
            // The call replaces all settings of the topic, so other settings of the topic are set again.
            let mut configs = self.own_configs.get(name).cloned().unwrap_or_default();
            for difference in found.into_iter().filter(is_wanted) {
                if let Differs::Config { key, declared, .. } = difference.what {
                    configs.insert(key.to_owned(), declared);
                }
            }
            let alter = AlterConfig::new(ResourceSpecifier::Topic(name));
            let alter = configs.iter().fold(alter, |alter, (key, value)| alter.set(key, value));
            let action = format!("change the settings of topic {name}");
            let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
            let answers = self.admin.alter_configs([&alter], &options).await;
            for answer in answers.map_err(KafkaFailure::call(action.as_str()))? {
                answer.map_err(|(_, code)| KafkaFailure::call(action.as_str())(KafkaError::AdminOp(code)))?;
            }
            changed.push(name.clone());
        }
        Ok(changed)
    }
}
