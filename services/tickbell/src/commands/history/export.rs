//! `tickbell export`: ticks and candles as CSV, NDJSON or Parquet, and the page of prices.

use std::time::Duration;

use archiver::{Archive, Exported, Format, Selection, Subject};
use clap::{Args, Subcommand, ValueEnum};
use events::{Interval, Symbol, Timestamp, Venue};
use humantime::format_duration;
use store::market::export::TextFormat;
use tick_history::TickHistory;
use tokio::time::Instant;

use super::progress::Progress;
use crate::{
    commands::{
        connect::{object_target, settings, store},
        site,
    },
    exit::Exit,
    options::GlobalOptions,
    print::{self, eprint, write_answer},
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write ticks, one a line or row, oldest first in each market
    Ticks(Arguments),
    /// Write candles of one interval
    Candles {
        /// Interval of the candles: 1m, 5m, 15m, 1h, 4h or 1d
        #[arg(long, default_value = "1m")]
        interval: Interval,
        #[command(flatten)]
        arguments: Arguments,
    },
    /// Write the page of latest prices, index.html, and the same as prices.json
    Site(site::export::Arguments),
}

/// What is exported, how and where to.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this symbol, like BTC-USD [default: all]
    #[arg(long, value_parser = |text: &str| Symbol::from_spelling(text))]
    symbol: Option<Symbol>,
    /// Only this venue, like coinbase [default: all]
    #[arg(long, value_parser = |text: &str| Venue::parse(text))]
    venue: Option<Venue>,
    /// From this time on, like 2018-04-05T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only what is before this time, like 2018-04-06T00:00:00Z
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Format of the output [default: csv on standard output, parquet elsewhere]
    #[arg(long)]
    format: Option<FormatName>,
    /// Where to: - for standard output, a folder, or a bucket like s3://bucket/prefix (archive.endpoint, archive.region)
    #[arg(long, value_name = "WHERE")]
    output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Parquet,
    Csv,
    Ndjson,
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let (subject, arguments) = match command {
        Command::Ticks(arguments) => (Subject::Ticks, arguments),
        Command::Candles { interval, arguments } => (Subject::Candles(interval), arguments),
        Command::Site(arguments) => return site::export::run(options, arguments).await,
    };
    let Arguments { symbol, venue, from, to, format, output } = arguments;
    let range = (from.unwrap_or(Timestamp::EPOCH), to.unwrap_or(Timestamp::LAST));
    if range.0 > range.1 {
        eprint(&format!("--from {} is after --to {}: give the earlier time first.", range.0, range.1));
        return Ok(Exit::Usage);
    }
    let format = match known_format(format, &output) {
        Ok(format) => format,
        Err(refusal) => {
            eprint(&refusal);
            return Ok(Exit::Usage);
        }
    };
    let settings = settings(options)?;
    let selection = Selection { subject, venue, symbol, range };
    let began = Instant::now();
    let exported = match (format, output.as_str()) {
        (Format::Text(text), "-") => to_standard_output(&history(&settings).await?, &selection, text).await?,
        (format, _) => {
            let target = object_target(&settings.archive, &output)?;
            let history = history(&settings).await?;
            let progress = Progress::new("rows");
            let archive = Archive { history: &history, target: &target, format };
            archiver::write(&archive, &selection, |done, rows| progress.show(done.rows + done.known + rows)).await?
        }
    };
    say(&exported, began.elapsed());
    Ok(Exit::Done)
}

/// Returns the history: the database, and the archive of the settings, which has what the database has dropped.
async fn history(settings: &Settings) -> anyhow::Result<TickHistory> {
    Ok(TickHistory::open(store(settings).await?, &settings.archive.target())?)
}

fn known_format(name: Option<FormatName>, output: &str) -> Result<Format, String> {
    let is_standard_output = output == "-";
    let default = if is_standard_output { FormatName::Csv } else { FormatName::Parquet };
    match name.unwrap_or(default) {
        FormatName::Csv => Ok(Format::Text(TextFormat::Csv)),
        FormatName::Ndjson => Ok(Format::Text(TextFormat::Ndjson)),
        FormatName::Parquet if is_standard_output => {
            Err("Parquet is not written to standard output: use --format csv or ndjson, or --output FOLDER.".into())
        }
        #[cfg(feature = "export")]
        FormatName::Parquet => Ok(Format::Parquet),
        #[cfg(not(feature = "export"))]
        FormatName::Parquet => {
            Err("This program was built without Parquet (feature `export`): use --format csv or ndjson.".into())
        }
    }
}

/// Writes lines until all is written, or whoever reads them has gone.
async fn to_standard_output(
    history: &TickHistory,
    selection: &Selection,
    format: TextFormat,
) -> anyhow::Result<Exported> {
    let header = match selection.subject {
        Subject::Ticks => format.tick_header(),
        Subject::Candles(_) => format.candle_header(),
    };
    let progress = Progress::new("rows");
    let mut exported = Exported { bytes: header.len() as u64, ..Exported::default() };
    write_answer(header.as_bytes());
    for market in selection.markets(history.store()).await? {
        let before = exported.rows;
        let market = (&market, selection.subject);
        let written = archiver::write_text(history, market, selection.range, format, |text, rows| {
            write_answer(text);
            exported.bytes += text.len() as u64;
            progress.show(before + rows);
            // An error ends the export; which one it was is said at the end.
            if print::is_closed() { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        });
        match written.await {
            Ok(rows) => exported.rows = before + rows,
            Err(archiver::ArchiveError::Output(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(exported)
}

fn say(exported: &Exported, took: Duration) {
    let Exported { rows, bytes, parts, known, gaps } = exported;
    let per_second = u128::from(*rows) * 1_000 / took.as_millis().max(1);
    let took = format_duration(Duration::from_millis(took.as_millis() as u64));
    eprint(&format!(
        "exported rows={rows} bytes={bytes} parts={parts} already_there={known} gaps={gaps} in {took} ({per_second} rows/s)"
    ));
}
