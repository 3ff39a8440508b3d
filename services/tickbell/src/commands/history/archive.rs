//! `tickbell archive`: how the archive compares with the database.

use archiver::{Archive, Format, Selection, Subject, Target};
use clap::{Args, Subcommand, ValueEnum};
use events::{Interval, Symbol, Timestamp, Venue};
use platform::clock;
use tick_history::TickHistory;

use super::progress::Progress;
use crate::{
    commands::connect::{object_target, settings, store},
    exit::Exit,
    options::GlobalOptions,
    print::{eprint, print},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare archived ticks and candles of whole days with the database: rows, exact sums, first and last, and each file's digest. Files
    /// of ticks that the database has dropped are compared with their manifest and the number of ticks
    Verify(Arguments),
}

/// The days that are compared.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this symbol [default: all]
    #[arg(long, value_parser = |text: &str| Symbol::from_spelling(text))]
    symbol: Option<Symbol>,
    /// Only this venue [default: all]
    #[arg(long, value_parser = |text: &str| Venue::parse(text))]
    venue: Option<Venue>,
    /// Only days that begin at this time or later
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only days that end by this time [default: those that are over]
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only these rows [default: ticks, and candles of the interval]
    #[arg(long, value_name = "ROWS")]
    only: Option<RowsName>,
    /// Interval of the candles, of which the archiver writes those of a minute
    #[arg(long, default_value = "1m")]
    interval: Interval,
    /// The archive [default: archive.url]
    #[arg(long, value_name = "WHERE")]
    archive: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RowsName {
    Ticks,
    Candles,
}

pub(crate) async fn run(options: &GlobalOptions, Command::Verify(arguments): Command) -> anyhow::Result<Exit> {
    let Arguments { symbol, venue, from, to, only, interval, archive } = arguments;
    let settings = settings(options)?;
    let target = match &archive {
        Some(url) => object_target(&settings.archive, url)?,
        None => Target::open(&settings.archive.target())?,
    };
    let store = store(&settings).await?;
    let range = (from.unwrap_or(Timestamp::EPOCH), to.unwrap_or_else(clock::now));
    let history = TickHistory::open(store, &settings.archive.target())?;
    let archive = Archive { history: &history, target: &target, format: Format::Parquet };
    let progress = Progress::new("days");
    let (mut days, mut differences) = (0, Vec::new());
    for subject in subjects(only, interval) {
        let selection = Selection { subject, venue: venue.clone(), symbol: symbol.clone(), range };
        let (compared, found) = archiver::verify(&archive, &selection, |more| progress.show(days + more)).await?;
        days += compared;
        differences.extend(found);
    }
    drop(progress);
    if days == 0 {
        eprint(
            "Nothing was compared: there is no day as a whole within these times that has prices of this symbol and venue.",
        );
        return Ok(Exit::Failed);
    }
    differences.iter().for_each(|difference| print(&format!("{}: {}", difference.folder, difference.detail)));
    print(&format!("Compared {days} days, {} of which differ.", differences.len()));
    Ok(if differences.is_empty() { Exit::Done } else { Exit::Failed })
}

fn subjects(only: Option<RowsName>, interval: Interval) -> Vec<Subject> {
    match only {
        Some(RowsName::Ticks) => vec![Subject::Ticks],
        Some(RowsName::Candles) => vec![Subject::Candles(interval)],
        None => vec![Subject::Ticks, Subject::Candles(interval)],
    }
}
