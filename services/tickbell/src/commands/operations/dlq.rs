//! `tickbell dlq`: lists dead letters, shows them whole, and publishes them again.

use std::fmt::Write;

use clap::Subcommand;
use events::{DeadLetter, dead_letter::Body};
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
    /// Show dead letters whole: subject, headers, and the body or what is stored of it
    Show {
        /// Numbers of the dead letters, as `dlq list` prints them
        #[arg(required = true)]
        numbers: Vec<u64>,
        #[command(flatten)]
        output: OutputOptions,
    },
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
        Command::Show { numbers, output } => {
            let selected = select(&entries, &numbers);
            if output.json {
                let items: Vec<_> = selected.iter().map(|entry| to_json(entry)).collect();
                print(&json!({ "items": items }).to_string());
            } else {
                selected.iter().for_each(|entry| print(&to_text(entry)));
            }
            return Ok(if selected.len() < numbers.len() { Exit::Failed } else { Exit::Done });
        }
        Command::Replay { numbers, all } => {
            let selected = if all { entries.iter().collect() } else { select(&entries, &numbers) };
            let mut replayed = 0;
            for entry in selected {
                match entry.replayable() {
                    Ok(_) => {
                        dead_letter_queue::replay(&broker, entry).await?;
                        replayed += 1;
                        print(&format!("{}: published again", entry.sequence));
                    }
                    Err(reason) => eprint(&format!("Dead letter {} is not published again: {reason}.", entry.sequence)),
                }
            }
            if replayed < numbers.len() {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns the dead letters of these numbers, and says which there are not.
fn select<'entries>(entries: &'entries [DeadLetterEntry], numbers: &[u64]) -> Vec<&'entries DeadLetterEntry> {
    for missing in numbers.iter().filter(|number| !entries.iter().any(|entry| entry.sequence == **number)) {
        eprint(&format!("Dead letter {missing} does not exist; `tickbell dlq list` shows those that do."));
    }
    entries.iter().filter(|entry| numbers.contains(&entry.sequence)).collect()
}

fn to_line(entry: &DeadLetterEntry) -> String {
    match &entry.dead_letter {
        Ok(DeadLetter { frame: Some(frame), at, service, reason, .. }) => format!(
            "{}  {at}  message of {}, {} bytes  rejected by {service}: {reason}",
            entry.sequence, frame.venue, frame.bytes
        ),
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

fn to_text(entry: &DeadLetterEntry) -> String {
    let mut text = to_line(entry);
    let Ok(dead) = &entry.dead_letter else { return text };
    let (body, encoding) = match &dead.body {
        Body::Text(body) => (body, "text"),
        Body::Base64(body) => (body, "base64"),
    };
    let extent = match &dead.frame {
        Some(frame) => {
            _ = write!(text, "\n  sha256: {}", frame.digest);
            let stored = dead.body.bytes().map_or(0, |bytes| bytes.len() as u64);
            if stored < frame.bytes { format!("the first {stored} of {} bytes", frame.bytes) } else { "whole".into() }
        }
        None => "whole".to_owned(),
    };
    for (name, value) in &dead.headers {
        _ = write!(text, "\n  {}: {}", name.escape_debug(), value.escape_debug());
    }
    // A control character of the message would reach the terminal.
    let shown: String = body.chars().map(shown).collect();
    _ = write!(text, "\n  body ({encoding}, {extent}):\n{shown}");
    text
}

/// Returns a character as a terminal may show it.
fn shown(char: char) -> String {
    if char.is_control() && char != '\n' { char.escape_default().to_string() } else { char.to_string() }
}

fn to_json(entry: &DeadLetterEntry) -> serde_json::Value {
    match &entry.dead_letter {
        Ok(dead) => json!({ "number": entry.sequence, "dead_letter": dead }),
        Err(error) => json!({ "number": entry.sequence, "error": error }),
    }
}

#[cfg(test)]
mod tests {
    use events::{RawFrame, Timestamp, Venue};

    use super::*;

    #[test]
    fn a_message_of_a_venue_is_shown_with_what_is_stored_of_it() {
        let venue = Venue::parse("okx").expect("a venue");
        let frame = RawFrame { venue, digest: "ab".to_owned(), bytes: 5_000 };
        let dead =
            DeadLetter::of_frame("price-ingestor", frame, b"{\"a\":\x1b[2J", "no JSON".to_owned(), Timestamp::EPOCH);
        let entry = DeadLetterEntry { sequence: 7, dead_letter: Ok(dead.clone()) };
        assert_eq!(
            to_text(&entry),
            "7  1970-01-01T00:00:00.000000Z  message of okx, 5000 bytes  rejected by price-ingestor: no JSON\n  sha256: ab\n  \
             body (text, the first 9 of 5000 bytes):\n{\"a\":\\u{1b}[2J"
        );
        let of_stream = DeadLetter {
            frame: None,
            stream: "TICKS".into(),
            subject: "ticks.x".into(),
            headers: vec![("a".into(), "b".into())],
            body: Body::new(&[0xff]),
            ..dead
        };
        let entry = DeadLetterEntry { sequence: 8, dead_letter: Ok(of_stream) };
        assert!(to_text(&entry).ends_with("no JSON\n  a: b\n  body (base64, whole):\n/w=="), "{}", to_text(&entry));
    }
}
