//! `tickbell streams`: creates, compares and exports the JetStream topology.

use std::collections::HashSet;

use clap::{Subcommand, ValueEnum};
use events::streams::Topology;
use platform::{
    Broker, ServiceError,
    broker::{nack_export, topology},
    runtime::error::error_chain,
};
use store::{
    Store,
    outbox::relay,
    republish::{self, EventKind, MAX_EVENTS},
};

use crate::{
    commands::connect::{broker, settings, store},
    exit::Exit,
    options::GlobalOptions,
    print::{eprint, print},
};

/// The producer of the events in the outbox.
const PRODUCER: &str = "operator";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create missing streams and consumers and update those that differ; leaves limits that are greater than declared, and
    /// refuses changes that would lose messages
    Apply,
    /// List the differences between the server and schemas/streams.yaml; exits with status 1 if there are any
    Diff,
    /// Print the streams and consumers in the format of another tool
    Export {
        /// Output format
        #[arg(long, value_enum, default_value_t = Format::Nack)]
        format: Format,
    },
    /// Publish again what the broker has lost and the database has: deposits, orders, changes of rules, firings
    ///
    /// An order that is published again trades at the price of now. Run it after an older copy of the broker's files was put
    /// back, or its streams were lost. Running it again changes nothing.
    Republish {
        /// Print how many events are lost, and publish none
        #[arg(long)]
        dry_run: bool,
        /// Only these kinds, separated by commas: deposits, orders, triggers (firings that place an order), cancellations (of
        /// orders whose rule or account is deleted), rules, confirmations (of rules), firings (to notify of), order-news
        #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
        only: Vec<EventKind>,
    },
}

fn kind(text: &str) -> Result<EventKind, String> {
    EventKind::parse(text).ok_or_else(|| format!("must be one of {}", EventKind::ALL.map(EventKind::as_str).join(", ")))
}

/// A format that the topology can be exported in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// Resources for NACK, the JetStream controller for Kubernetes
    Nack,
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let declared = Topology::declared()?;
    match command {
        Command::Export { format: Format::Nack } => print(nack_export::export(&declared)?.trim_end()),
        Command::Republish { dry_run, only } => {
            let kinds: Vec<EventKind> =
                EventKind::ALL.into_iter().filter(|kind| only.is_empty() || only.contains(kind)).collect();
            return republish(options, &kinds, dry_run).await;
        }
        Command::Apply => {
            let broker = broker(&settings(options)?).await?;
            topology::apply(&broker, &declared).await?;
            for (name, stream) in &declared.streams {
                print(&format!("{name}: up to date, {} consumers", stream.consumers.len()));
            }
            for larger in topology::diff(&broker, &declared).await? {
                print(&format!("{larger}; stays, because nothing that somebody has enlarged is made smaller"));
            }
        }
        Command::Diff => {
            let differences = topology::diff(&broker(&settings(options)?).await?, &declared).await?;
            differences.iter().for_each(|difference| print(&difference.to_string()));
            if !differences.is_empty() {
                return Ok(Exit::Failed);
            }
            print("All streams and consumers match schemas/streams.yaml.");
        }
    }
    Ok(Exit::Done)
}

/// Publishes the lost events of each kind. A kind that fails does not keep the others from being published.
async fn republish(options: &GlobalOptions, kinds: &[EventKind], dry_run: bool) -> anyhow::Result<Exit> {
    let settings = settings(options)?;
    let (store, broker) = (store(&settings).await?, broker(&settings).await?);
    let mut exit = Exit::Done;
    for kind in kinds {
        let name = kind.as_str();
        match republish_kind(&store, &broker, *kind, dry_run).await {
            Ok(Republished { count, refused }) => {
                print(&format!("{name}: {count} {}", if dry_run { "lost" } else { "published again" }));
                if refused > 0 {
                    eprint(&format!(
                        "{name}: the broker has refused {refused} of them as repeats, which it does for two minutes; run this \
                         again after that"
                    ));
                    exit = Exit::Failed;
                }
                if count == MAX_EVENTS {
                    eprint(&format!("{name}: there may be more; run this again when these are processed"));
                    exit = Exit::Failed;
                }
            }
            Err(error) => {
                eprint(&format!("{name}: {}", error_chain(&error)));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

/// The number of lost events that were found, and of those that are lost still.
struct Republished {
    count: usize,
    refused: usize,
}

async fn republish_kind(
    store: &Store,
    broker: &Broker,
    kind: EventKind,
    dry_run: bool,
) -> Result<Republished, ServiceError> {
    let lost = republish::find_lost(store, broker, kind).await?;
    let count = lost.len();
    if dry_run || count == 0 {
        return Ok(Republished { count, refused: 0 });
    }
    let ids: HashSet<String> = lost.iter().map(|event| event.id.clone()).collect();
    republish::add(store, PRODUCER, lost).await?;
    // This also publishes what an earlier run has saved before it ended.
    relay::publish_pending(store, PRODUCER, broker).await?;
    let still_lost = republish::find_lost(store, broker, kind).await?;
    let refused = still_lost.iter().filter(|event| ids.contains(&event.id)).count();
    Ok(Republished { count, refused })
}
