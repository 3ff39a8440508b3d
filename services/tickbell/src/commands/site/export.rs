//! `tickbell export site`: writes the page of prices, and the same prices as JSON.

use clap::Args;
use events::Venue;
use platform::clock;

use super::{
    files::{self, Folder},
    prices,
};
use crate::{
    commands::connect::{object_target, settings_with},
    exit::Exit,
    options::GlobalOptions,
    print::eprint,
};

/// Where the page is written, and where its prices are from.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to: a folder, or a bucket like s3://bucket/prefix (archive.endpoint, archive.region)
    #[arg(long, value_name = "WHERE")]
    output: String,
    /// Ask this API once, without broker and database: coinnews:URL, json:NAME (a table of the settings) or json:URL [default: the
    /// price history]
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Venue of the prices of --source [default: coinnews, or the name of the table]
    #[arg(long, value_name = "NAME", requires = "source", value_parser = |text: &str| Venue::parse(text))]
    venue: Option<Venue>,
    /// Symbols that an API of json: is asked for, like BTC-USD,ETH-USD [default: those of its table]
    #[arg(long, value_name = "SYMBOLS", requires = "source")]
    symbols: Option<String>,
}

pub(crate) async fn run(options: &GlobalOptions, arguments: Arguments) -> anyhow::Result<Exit> {
    let Arguments { output, source, venue, symbols } = arguments;
    let asks = source.is_some();
    let flags = [
        ("price_ingestor.source", source),
        ("price_ingestor.venue", venue.map(|venue| venue.to_string())),
        ("price_ingestor.symbols", symbols),
    ];
    let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let settings = settings_with(options, flags)?;
    let target = object_target(&settings.archive, &output)?;
    let folder = Folder { target: &target, path: String::new() };
    let now = clock::now();
    let prices = if asks {
        prices::ask_once(&settings, files::former_rows(&folder).await?, now).await?
    } else {
        prices::from_history(&settings).await?
    };
    let bytes = files::write(&folder, &prices, now).await?;
    let (symbols, omitted) = (prices.rows.len(), prices.omitted);
    eprint(&format!("wrote the page of prices: symbols={symbols} omitted={omitted} bytes={bytes} to {output}"));
    Ok(Exit::Done)
}
