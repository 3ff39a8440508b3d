//! `tickbell dlq`.

use clap::Subcommand;
use platform::broker::dead_letter_queue::{self, DeadLetterEntry};
use serde_json::json;

use super::{broker, settings};
use crate::{
    cli::{Common, Output},
    exit::Exit,
    print::{complain, say},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List messages that were given up, with the reason
    List(Output),
    /// Publish messages again where they were published first, and take them off the list
    Replay {
        /// Their numbers in the list
        #[arg(required_unless_present = "all")]
        numbers: Vec<u64>,
        /// All of them
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
}

pub(crate) async fn run(common: &Common, command: Command) -> anyhow::Result<Exit> {
    let broker = broker(&settings(common)?).await?;
    let entries = dead_letter_queue::list(&broker).await?;
    match command {
        Command::List(Output { json: true }) => {
            let items: Vec<_> = entries.iter().map(shown_as_json).collect();
            say(&json!({ "items": items }).to_string());
        }
        Command::List(Output { json: false }) if entries.is_empty() => say("Nothing was given up."),
        Command::List(Output { json: false }) => entries.iter().for_each(|entry| say(&shown(entry))),
        Command::Replay { numbers, all } => {
            let chosen: Vec<&DeadLetterEntry> =
                entries.iter().filter(|entry| all || numbers.contains(&entry.sequence)).collect();
            for missing in numbers.iter().filter(|number| !entries.iter().any(|entry| entry.sequence == **number)) {
                complain(&format!("There is no dead letter {missing}; see `tickbell dlq list`."));
            }
            for entry in &chosen {
                dead_letter_queue::replay(&broker, entry).await?;
                say(&format!("{} published again", entry.sequence));
            }
            if chosen.len() < numbers.len() {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Done)
}

fn shown(entry: &DeadLetterEntry) -> String {
    match &entry.dead_letter {
        Ok(letter) => format!(
            "{}  {}  {}/{} on {}  given up by {}: {}",
            entry.sequence, letter.at, letter.stream, letter.sequence, letter.subject, letter.service, letter.reason
        ),
        Err(error) => format!("{}  is no dead letter: {error}", entry.sequence),
    }
}

fn shown_as_json(entry: &DeadLetterEntry) -> serde_json::Value {
    match &entry.dead_letter {
        Ok(letter) => json!({ "number": entry.sequence, "letter": letter }),
        Err(error) => json!({ "number": entry.sequence, "error": error }),
    }
}
