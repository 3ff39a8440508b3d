//! `tickbell kafka`: the topics and the positions of the Kafka bridge.

use clap::{Args, Subcommand};
use kafka_bridge::{MIRRORED, Mirrored, Progress};

use crate::{
    commands::connect::{broker, settings, store},
    exit::Exit,
    options::GlobalOptions,
    print::print,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, change or compare the topics of schemas/kafka-topics.yaml
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Show how far a stream is mirrored, or choose the first message to mirror while no bridge runs
    Position(PositionArguments),
}

#[derive(Debug, Args)]
pub(crate) struct PositionArguments {
    /// The stream, like TICKS
    #[arg(value_parser = mirrored)]
    stream: &'static Mirrored,
    /// The sequence of the first message to mirror. What is mirrored already is mirrored again from there on, under the same ids; what is
    /// before it is not mirrored
    sequence: Option<u64>,
}

fn mirrored(text: &str) -> Result<&'static Mirrored, String> {
    let found = MIRRORED.iter().find(|mirrored| mirrored.stream == text);
    let names = || MIRRORED.map(|mirrored| mirrored.stream).join(", ");
    found.ok_or_else(|| format!("no such stream is mirrored; allowed is one of {}", names()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Create missing topics and change the settings of those that differ; leaves what is greater than declared, and cannot change
    /// the number of partitions or replicas
    Apply,
    /// List the differences between the cluster and schemas/kafka-topics.yaml; exits with status 1 if there are any
    Diff,
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let settings = settings(options)?;
    settings.kafka.require()?;
    settings.kafka.validate()?;
    match command {
        Command::Topics(command) => topics(&settings.kafka, command).await,
        Command::Position(arguments) => position(&settings, arguments).await,
    }
}

async fn position(settings: &Settings, arguments: PositionArguments) -> anyhow::Result<Exit> {
    let PositionArguments { stream: mirrored, sequence } = arguments;
    let broker = broker(settings).await?;
    if let Some(sequence) = sequence {
        let store = store(settings).await?;
        let chosen = kafka_bridge::choose_first_message(&broker, &store, &settings.kafka, mirrored, sequence).await;
        store.close().await;
        chosen?;
    }
    let Progress { position, stream } = kafka_bridge::progress(&broker, &settings.kafka, mirrored).await?;
    let name = mirrored.stream;
    print(&match position {
        None => format!("{name}: Kafka has no position"),
        Some(position) if position.stream_created != stream.created => {
            format!("{name}: the position is of a stream before this one, which is mirrored from its first message on")
        }
        Some(position) => format!("{name}: the next message to mirror is {}", position.sequence + 1),
    });
    print(&if stream.first_sequence > stream.last_sequence {
        format!("The stream is empty; its next message is {}.", stream.first_sequence)
    } else {
        format!("The stream has the messages {} to {}.", stream.first_sequence, stream.last_sequence)
    });
    Ok(Exit::Done)
}

async fn topics(settings: &kafka_bridge::Settings, command: TopicsCommand) -> anyhow::Result<Exit> {
    let differences = match command {
        TopicsCommand::Diff => kafka_bridge::kafka::diff_topics(settings).await?,
        TopicsCommand::Apply => {
            let report = kafka_bridge::kafka::apply_topics(settings).await?;
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
