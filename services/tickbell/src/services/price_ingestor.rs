//! The price-ingestor: prices in, ticks out.

use ::price_ingestor::Summary;
use futures::FutureExt;
use platform::Broker;
use store::Store;
use tokio::time::Instant;
use tracing::{Level, info};

use super::descriptor::{Context, Flag, InUp, Run, Service, Task};
use crate::{history_wait::HistoryWait, print::eprint};

pub(super) const SERVICE: Service = Service {
    name: "price-ingestor",
    about: "Publish ticks from exchanges, the simulator, a recorded file or the coinnews API",
    flags: &[
        Flag {
            name: "source",
            setting: "price_ingestor.source",
            value: Some("SOURCE"),
            help: "simulator, file:PATH (CSV or NDJSON, may be gzipped or zipped), - (the same on standard input), \
                   tape:PATH (what `tickbell record` has written), json:NAME (a table of the settings) or json:URL, coinnews:URL, or an exchange: coinbase, coinbaseadvanced, binance, binanceus, kraken, okx, bitstamp or \
                   bybit [default: simulator]",
        },
        Flag {
            name: "symbols",
            setting: "price_ingestor.symbols",
            value: Some("SYMBOLS"),
            help: "Symbols that are followed at an exchange, like BTC-USD,ETH-USD",
        },
        Flag {
            name: "venue-url",
            setting: "price_ingestor.venue_url",
            value: Some("VENUE=WS,REST"),
            help: "Addresses of a server that stands in for an exchange, like \
                   coinbase=ws://127.0.0.1:9001,http://127.0.0.1:9002",
        },
        Flag {
            name: "speed",
            setting: "price_ingestor.speed",
            value: Some("SPEED"),
            help: "Replay speed of a file or a tape: max, or a multiple of the recorded pace, like 60x [default: max]",
        },
        Flag {
            name: "venue",
            setting: "price_ingestor.venue",
            value: Some("NAME"),
            help: "Venue of the ticks [default: simulator, file, coinnews or the exchange, by source]; for a tape that names no \
                   exchange, the exchange",
        },
        Flag {
            name: "once",
            setting: "price_ingestor.once",
            value: None,
            help: "Poll once, or simulate one round, then exit",
        },
        Flag {
            name: "wait",
            setting: "price_ingestor.wait",
            value: None,
            help: "Exit when the price history has committed what was published, and say how many ticks were new to it",
        },
        Flag {
            name: "format",
            setting: "price_ingestor.file.format",
            value: Some("NAME"),
            help: "Vendor of the file: binance-aggtrades, binance-klines, binance-trades, bitcoincharts, bybit, coinbase, \
                   cryptodatadownload, kaiko, kraken, kraken-ohlcvt, stooq, tardis, taq or yahoo",
        },
        Flag {
            name: "columns",
            setting: "price_ingestor.file.columns",
            value: Some("LIST"),
            help: "Columns of the file, by number from 0 or by name, like time=0,price=4,size=5; also date, symbol, class and id",
        },
        Flag {
            name: "symbol",
            setting: "price_ingestor.file.symbol",
            value: Some("SYMBOL"),
            help: "Symbol of all lines of the file, like BTC-USD",
        },
        Flag {
            name: "separator",
            setting: "price_ingestor.file.separator",
            value: Some("CHARACTER"),
            help: "Separator of the file's columns: one character, tab or space [default: that of the first line]",
        },
        Flag {
            name: "time-unit",
            setting: "price_ingestor.file.time_unit",
            value: Some("UNIT"),
            help: "Unit of the file's times since 1970: s, ms, us or ns [default: by the number of digits]",
        },
        Flag {
            name: "time-zone",
            setting: "price_ingestor.file.time_zone",
            value: Some("ZONE"),
            help: "Zone of the file's times that name none: UTC, like +05:30, or America/New_York [default: UTC; taq: New York]",
        },
        Flag {
            name: "date",
            setting: "price_ingestor.file.date",
            value: Some("DATE"),
            help: "Date of the file's times of day that have none, like 2018-04-05",
        },
        Flag {
            name: "no-header",
            setting: "price_ingestor.file.no_header",
            value: None,
            help: "The first line of the file is a trade and names no columns",
        },
        Flag {
            name: "newest-first",
            setting: "price_ingestor.file.newest_first",
            value: None,
            help: "The newest line of the file is first; such a file is read into memory and turned round",
        },
        Flag {
            name: "candles",
            setting: "price_ingestor.file.candles",
            value: Some("PRICE"),
            help: "The lines are candles (open, high, low, close): close publishes the close of each",
        },
    ],
    publishes: &["ticks.>", "feeds.>", "dlq.price-ingestor"],
    consumers: &[],
    in_up: InUp::WithPrices,
    validate: |settings| settings.price_ingestor.validate(),
    require: |_| Ok(()),
    run: Run::WithOptionalDatabase { needs_database: |settings| settings.price_ingestor.needs_database(), run },
};

fn run(context: Context, broker: Broker, store: Option<Store>) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    async move {
        let check = health.check(SERVICE.name);
        let started = Instant::now();
        let wait = match settings.price_ingestor.wait {
            true => Some(HistoryWait::begin(&broker, &settings).await?),
            false => None,
        };
        let sources: Vec<String> = settings.price_ingestor.sources().iter().map(ToString::to_string).collect();
        let (source, venue) = (sources.join(","), settings.price_ingestor.venue());
        let max_ahead = settings.ticks.max_ahead();
        let ingest = ::price_ingestor::run(broker, store, check, settings.price_ingestor, max_ahead, shutdown.clone());
        let summary = ingest.await?;
        let new = match wait {
            Some(wait) => wait.finish(&venue, summary.times, &shutdown).await?,
            None => None,
        };
        let reason = if shutdown.is_cancelled() { "stopped publishing" } else { "the source has ended" };
        say(summary, new, started.elapsed().as_secs(), &source, venue.as_str(), reason);
        Ok(())
    }
    .boxed()
}

/// Says what was done, also where the log is for warnings alone: it is the last line of the process.
fn say(summary: Summary, new: Option<u64>, seconds: u64, source: &str, venue: &str, reason: &str) {
    let Summary { published, refused, rounded, .. } = summary;
    if tracing::enabled!(Level::INFO) {
        match new {
            Some(new) => info!(source, venue, published, refused, rounded, new, seconds, "{reason}"),
            None => info!(source, venue, published, refused, rounded, seconds, "{reason}"),
        }
        return;
    }
    let new = new.map(|new| format!(" new={new}")).unwrap_or_default();
    eprint(&format!(
        "{reason} source={source} venue={venue} published={published} refused={refused} rounded={rounded}{new}"
    ));
}
