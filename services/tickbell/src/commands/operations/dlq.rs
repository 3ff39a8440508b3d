//! `tickbell dlq`: lists dead letters and publishes them again.

use clap::Subcommand;
use platform::broker::dead_letter_queue::{self, DeadLetterEntry};
use serde_json::json;

use crate::{
    commands::connect::{broker, settings},
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::{eprint, print},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the dead letters, with the reason why each could not be processed
    List(OutputOptions),
    /// Publish dead letters again on their original subject and remove them from the list
    Replay {
        /// Numbers of the dead letters, as `dlq list` prints them
        #[arg(required_unless_present = "all")]
        numbers: Vec<u64>,
        /// Replay every dead letter
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let broker = broker(&settings(options)?).await?;
    let entries = dead_letter_queue::list(&broker).await?;
    match command {
        Command::List(OutputOptions { json: true }) => {
            let items: Vec<_> = entries.iter().map(to_json).collect();
            print(&json!({ "items": items }).to_string());
        }
        Command::List(OutputOptions { json: false }) if entries.is_empty() => print("There are no dead letters."),
        Command::List(OutputOptions { json: false }) => entries.iter().for_each(|entry| print(&to_line(entry))),
        Command::Replay { numbers, all } => {
            let selected: Vec<&DeadLetterEntry> =
                entries.iter().filter(|entry| all || numbers.contains(&entry.sequence)).collect();
            for missing in numbers.iter().filter(|number| !entries.iter().any(|entry| entry.sequence == **number)) {
                eprint(&format!("Dead letter {missing} does not exist; `tickbell dlq list` shows those that do."));
            }
            for entry in &selected {
                dead_letter_queue::replay(&broker, entry).await?;
                print(&format!("{}: published again", entry.sequence));
            }
            if selected.len() < numbers.len() {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Done)
}

fn to_line(entry: &DeadLetterEntry) -> String {
    match &entry.dead_letter {
        Ok(dead) => {
            let index = dead.index.map(|index| format!(":{index}")).unwrap_or_default();
            format!(
                "{}  {}  {} #{}{index} on {}  rejected by {}: {}",
                entry.sequence, dead.at, dead.stream, dead.sequence, dead.subject, dead.service, dead.reason
            )
        }
        Err(error) => format!("{}  cannot be read: {error}", entry.sequence),
    }
}

fn to_json(entry: &DeadLetterEntry) -> serde_json::Value {
    match &entry.dead_letter {
        Ok(dead) => json!({ "number": entry.sequence, "dead_letter": dead }),
        Err(error) => json!({ "number": entry.sequence, "error": error }),
    }
}
