//! `tickbell record`: writes what exchanges send to disk, to be played with `--source tape:PATH`. It needs neither broker nor
//! database.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use events::streams::ByteSize;
use platform::{clock, settings::SettingsError, telemetry};
use price_ingestor::{
    Source,
    sources::{
        exchange::venues::ExchangeName,
        tape::{Recorder, RecordingStatus, TapeLimits, TapeTotals, describe},
    },
};
use tracing::info;

use crate::{exit::Exit, options::GlobalOptions, print::print, settings::sources, signals, version};

const MIB: u64 = 1 << 20;

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the tape; it is made where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Exchanges that are recorded, like coinbase,kraken
    #[arg(long, value_name = "EXCHANGES", value_delimiter = ',', required_unless_present = "status")]
    source: Vec<Source>,
    /// Symbols that are recorded, like BTC-USD,ETH-USD [default: those of the settings]
    #[arg(long, value_name = "SYMBOLS")]
    symbols: Option<String>,
    /// Addresses of a server that stands in for an exchange, like coinbase=ws://127.0.0.1:9001,http://127.0.0.1:9002
    #[arg(long, value_name = "VENUE=WS,REST")]
    venue_url: Option<String>,
    /// Size on disk at which a file is ended and the next one begun: 1MiB to 4GiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_file: ByteSize,
    /// Age at which a file is ended: 1s to 30days
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    max_age: Duration,
    /// Size of all files together, at least twice that of a file; the oldest are deleted
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    max_total: ByteSize,
    /// Say what the folder has, and exit
    #[arg(long)]
    status: bool,
}

pub(crate) async fn run(options: &GlobalOptions, arguments: &Arguments) -> anyhow::Result<Exit> {
    if arguments.status {
        print(&describe(&arguments.out)?);
        return Ok(Exit::Done);
    }
    let limits = arguments.limits()?;
    let flags = [
        ("price_ingestor.symbols", arguments.symbols.clone()),
        ("price_ingestor.venue_url", arguments.venue_url.clone()),
    ];
    let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let settings = sources::read(options, vec![], flags)?;
    let configs = settings.price_ingestor.feed_configs(&arguments.exchanges()?, settings.ticks.max_ahead())?;
    // Traces are flushed when it is dropped.
    let _telemetry = telemetry::init(version::program("record"), &settings.telemetry)?;
    let shutdown = signals::shutdown(Duration::ZERO)?;
    info!(folder = %arguments.out.display(), "recording");
    let recorder = Recorder::open(&arguments.out, limits, clock::now)?;
    let status = recorder.run(configs, &shutdown, log).await?;
    print(&summary(&status));
    Ok(Exit::Done)
}

impl Arguments {
    fn exchanges(&self) -> Result<Vec<ExchangeName>, SettingsError> {
        let exchange = |source: &Source| match source {
            Source::Exchange(name) => Ok(*name),
            other => Err(SettingsError(format!("--source {other} is no exchange: only exchanges are recorded"))),
        };
        let mut names: Vec<ExchangeName> = Vec::new();
        for source in &self.source {
            let name = exchange(source)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn limits(&self) -> Result<TapeLimits, SettingsError> {
        let (file_bytes, total_bytes) = (self.max_file.0, self.max_total.0);
        if !(MIB..=4096 * MIB).contains(&file_bytes) {
            return Err(SettingsError("--max-file is out of range: allowed is 1MiB to 4GiB".to_owned()));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(30 * 86_400)).contains(&self.max_age) {
            return Err(SettingsError("--max-age is out of range: allowed is 1s to 30days".to_owned()));
        }
        if total_bytes < 2 * file_bytes {
            return Err(SettingsError("--max-total must be at least twice --max-file".to_owned()));
        }
        Ok(TapeLimits { file_bytes, file_age: self.max_age, total_bytes })
    }
}

fn log(status: &RecordingStatus) {
    let RecordingStatus { received, lost, trades, bad_messages, totals, failing } = status;
    let TapeTotals { bytes, files, deleted, .. } = totals;
    info!(received, trades, bad_messages, lost, bytes, files, deleted, failing = failing.len(), "recording");
}

fn summary(status: &RecordingStatus) -> String {
    let RecordingStatus { received, lost, trades, bad_messages, totals, failing } = status;
    let TapeTotals { lines, bytes, files, deleted } = totals;
    let mut summary = format!(
        "Recorded {received} messages with {trades} trades: {lines} lines in {files} files, {bytes} bytes; {deleted} old files were \
         deleted."
    );
    if *lost > 0 {
        summary += &format!(" The disk was too slow for {lost} messages; the tape says where.");
    }
    if *bad_messages > 0 {
        summary += &format!(" {bad_messages} messages cannot be decoded; they are on the tape.");
    }
    for ((venue, symbol), why) in failing {
        summary += &format!("\n{venue} {symbol} did not arrive in the end: {why}");
    }
    summary
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<(Vec<ExchangeName>, TapeLimits), String> {
        let words = format!("record --out tape {line}");
        let Line { arguments } = Line::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?;
        let read = || Ok::<_, SettingsError>((arguments.exchanges()?, arguments.limits()?));
        read().map_err(|error| error.to_string())
    }

    #[test]
    fn exchanges_and_limits_are_read_and_checked() {
        let (exchanges, limits) = parse("--source kraken,coinbase,kraken").expect("arguments");
        assert_eq!(exchanges.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["kraken", "coinbase"]);
        assert_eq!((limits.file_bytes, limits.total_bytes), (64 * MIB, 10_240 * MIB));
        for (line, said) in [
            ("", "--source"),
            ("--source nyse", "coinbaseadvanced"),
            ("--source simulator", "only exchanges are recorded"),
            ("--source kraken --max-file 1KiB", "1MiB to 4GiB"),
            ("--source kraken --max-file 1GiB --max-total 1GiB", "at least twice"),
            ("--source kraken --max-age 0s", "1s to 30days"),
            ("--source kraken --max-file many", "64KiB"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
