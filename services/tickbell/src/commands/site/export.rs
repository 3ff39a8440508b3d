//! `tickbell export site`: writes the page of prices, and the same prices as JSON.

use anyhow::ensure;
use clap::Args;
use events::{Timestamp, Venue};
use object_archive::target::Target;
use platform::clock;
use price_page::{Colour, PriceRow};

use super::{
    Checks,
    files::{self, Folder},
    pointer::Pointer,
    prices::{self, Prices},
    say,
    switch::{self, Switched},
};
use crate::{
    commands::connect::{object_target, settings_with},
    exit::Exit,
    options::GlobalOptions,
    print::eprint,
    settings::Settings,
};

/// Where the page is written, and where its prices are from.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to: a folder, or a bucket like s3://bucket/prefix (archive.endpoint, archive.region)
    #[arg(long, value_name = "WHERE")]
    output: String,
    /// Write a copy into a folder of its own: green, blue, idle (the one that is not live), or both (the idle one, which is checked and made
    /// live, and then the other) [default: one page without copies]
    #[arg(long, value_name = "COLOUR")]
    colour: Option<Copies>,
    #[command(flatten)]
    checks: Checks,
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

/// The copies that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Copies {
    Green,
    Blue,
    Idle,
    Both,
}

pub(crate) async fn run(options: &GlobalOptions, arguments: Arguments) -> anyhow::Result<Exit> {
    let Arguments { output, colour, checks, source, venue, symbols } = arguments;
    let asks = source.is_some();
    let flags = [
        ("price_ingestor.source", source),
        ("price_ingestor.venue", venue.map(|venue| venue.to_string())),
        ("price_ingestor.symbols", symbols),
    ];
    let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let settings = settings_with(options, flags)?;
    let target = object_target(&settings.archive, &output)?;
    let run = Run { settings: &settings, target: &target, asks, now: clock::now() };
    match colour {
        None => {
            Pointer::require_none(&target).await?;
            run.write_from_own(Folder { target: &target, path: String::new() }).await.map(|_| Exit::Done)
        }
        Some(Copies::Green) => run.write_from_own(Folder::of(&target, Colour::Green)).await.map(|_| Exit::Done),
        Some(Copies::Blue) => run.write_from_own(Folder::of(&target, Colour::Blue)).await.map(|_| Exit::Done),
        Some(Copies::Idle) => run.write_idle().await.map(|_| Exit::Done),
        Some(Copies::Both) => {
            let (pointer, prices) = run.write_idle().await?;
            let switched = switch::promote(&checks.of(&target), &pointer, None).await?;
            if let Switched::Live(live) = switched {
                // The check after a switch takes up to `--wait`, in which somebody may have switched back.
                let is_live = Pointer::read(&target).await?.live().is_some_and(|pointer| pointer.live == live);
                ensure!(is_live, "somebody else has switched back meanwhile, so {} was not written", live.other());
                run.write(&Folder::of(&target, live.other()), &prices).await?;
            }
            Ok(say(&switched))
        }
    }
}

/// One run of the command.
struct Run<'run> {
    settings: &'run Settings,
    target: &'run Target,
    /// Whether an API is asked, and not the history.
    asks: bool,
    now: Timestamp,
}

impl Run<'_> {
    /// Writes a folder whose day goes on from what it has.
    async fn write_from_own(&self, folder: Folder<'_>) -> anyhow::Result<()> {
        let former = if self.asks { files::former_rows(&folder).await? } else { Vec::new() };
        self.write(&folder, &self.prices(former).await?).await
    }

    /// Writes the copy that is not live, and returns the pointer that says so. Its day goes on from the copy that readers see.
    async fn write_idle(&self) -> anyhow::Result<(Pointer, Prices)> {
        let pointer = Pointer::read(self.target).await?;
        let idle = pointer.idle();
        let newest = Folder::of(self.target, pointer.live().map_or(idle, |pointer| pointer.live));
        let former = if self.asks { files::former_rows(&newest).await? } else { Vec::new() };
        let prices = self.prices(former).await?;
        pointer.require_unchanged(self.target).await?;
        self.write(&Folder::of(self.target, idle), &prices).await?;
        Ok((pointer, prices))
    }

    async fn prices(&self, former: Vec<PriceRow>) -> anyhow::Result<Prices> {
        if self.asks {
            prices::ask_once(self.settings, former, self.now).await
        } else {
            prices::from_history(self.settings).await
        }
    }

    async fn write(&self, folder: &Folder<'_>, prices: &Prices) -> anyhow::Result<()> {
        let bytes = files::write(folder, prices, self.now).await?;
        let (symbols, omitted, path) = (prices.rows.len(), prices.omitted, &folder.path);
        eprint(&format!("wrote the page of prices {path}: symbols={symbols} omitted={omitted} bytes={bytes}"));
        Ok(())
    }
}
