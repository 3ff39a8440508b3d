//! `tickbell kafka`: creates and compares the topics of the Kafka bridge.

use clap::Subcommand;

use crate::{commands::connect::settings, exit::Exit, options::GlobalOptions, print::print};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, change or compare the topics of schemas/kafka-topics.yaml
    #[command(subcommand)]
    Topics(TopicsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Create missing topics and change the settings of those that differ; leaves what is greater than declared, and cannot change
    /// the number of partitions or replicas
    Apply,
    /// List the differences between the cluster and schemas/kafka-topics.yaml; exits with status 1 if there are any
    Diff,
}

pub(crate) async fn run(options: &GlobalOptions, Command::Topics(command): Command) -> anyhow::Result<Exit> {
    let settings = settings(options)?.kafka;
    settings.require()?;
    let differences = match command {
        TopicsCommand::Diff => kafka_bridge::kafka::diff_topics(&settings).await?,
        TopicsCommand::Apply => {
            let report = kafka_bridge::kafka::apply_topics(&settings).await?;
            report.created.iter().for_each(|topic| print(&format!("{topic}: created")));
            report.changed.iter().for_each(|topic| print(&format!("{topic}: changed")));
            report.differences
        }
    };
    differences.iter().for_each(|difference| print(&difference.to_string()));
    if differences.is_empty() {
        print("All topics match schemas/kafka-topics.yaml.");
    }
    Ok(if differences.is_empty() { Exit::Done } else { Exit::Failed })
}
