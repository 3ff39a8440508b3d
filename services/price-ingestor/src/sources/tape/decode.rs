//! From the lines of a tape to ticks, by the decoders that read the same messages live.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use events::{
    KnownQuotes, Symbol, Tick, Timestamp, Venue,
    quotes::is_currency,
    tick::{TickKind, TickSource},
};
use market_data::MaxAhead;
use platform::{clock, runtime::error::error_chain};
use thiserror::Error;
use tracing::{info, warn};

use super::{
    line::{Content, ProductSymbols, TapeLine, TapeLineError},
    reader::{TapeError, TapeReader, TapeText},
};
use crate::sources::exchange::{
    adapter::Adapter,
    feed::BadMessage,
    message::{Message, Trades, VenueTrade},
    venues::{VENUES, venue},
};

/// How many messages of a tape that names no venue are looked at to recognise it.
const MAX_SAMPLE: usize = 5_000;
/// How many lines that are none are logged one by one; later ones are only counted.
const MAX_LOGGED_LINES: u64 = 20;

/// How a tape is read.
#[derive(Debug, Clone)]
pub struct TapeOptions {
    /// The file or folder.
    pub path: PathBuf,
    /// The exchange whose messages it has, where its lines do not name it; without it, it is recognised.
    pub exchange: Option<Venue>,
    /// The venue that the ticks are published under; without it, the exchange.
    pub publish_as: Option<Venue>,
    /// How far the time of a trade may be ahead of the clock.
    pub max_ahead: MaxAhead,
}

/// A tape that cannot be played.
#[derive(Debug, Error)]
pub enum PlayError {
    /// It cannot be read.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// Its lines name no venue, and no decoder recognises them.
    #[error("the lines of {0} name no venue, and no exchange that is known writes such messages; name it with --venue, one of {names}", names = names())]
    UnknownVenue(String),
}

/// What the next line of a tape gives.
#[derive(Debug)]
pub enum Played {
    /// The trades of a message, with their ids, and when it was received. Empty for a message without any.
    Ticks {
        /// When the message was received.
        at: Option<Timestamp>,
        /// The ticks and their trade ids.
        ticks: Vec<(Tick, String)>,
        /// How many of them have fewer digits than the venue wrote.
        rounded: u64,
        /// How many trades of the message are refused: their product has no symbol, or their time is in the future.
        refused: u64,
    },
    /// A message of a venue that could not be read.
    Bad(Venue, BadMessage),
    /// A line that is none of a tape.
    NoLine,
}

/// A tape that is played.
pub struct Player {
    reader: TapeReader,
    options: TapeOptions,
    /// The exchange of lines that name none.
    exchange: Option<&'static dyn Adapter>,
    /// The symbols of products, by exchange: those that the tape names, and those that were made of the product's name.
    symbols: BTreeMap<&'static str, BTreeMap<String, Option<Symbol>>>,
    listed: BTreeMap<&'static str, ProductSymbols>,
    bad_lines: u64,
}

impl Player {
    /// Opens a tape and, where its lines do not name it, recognises the exchange.
    pub fn open(options: TapeOptions) -> Result<Self, PlayError> {
        let reader = TapeReader::open(&options.path)?;
        let exchange = match options.exchange.as_ref().and_then(|name| venue(name.as_str())) {
            Some(adapter) => Some(adapter),
            None => recognise(&options.path)?,
        };
        let (symbols, listed) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { reader, options, exchange, symbols, listed, bad_lines: 0 })
    }

    /// Returns what the next line gives; none after the last one.
    pub fn play_next(&mut self) -> Result<Option<Played>, PlayError> {
        let Self { reader, options, exchange, symbols, listed, bad_lines } = self;
        let Some(TapeText { file, number, text: line }) = reader.next_line()? else {
            for file in reader.cut_files() {
                warn!(
                    file,
                    "the tape ends in the middle of its packed data: its recorder was killed; its whole lines were played"
                );
            }
            return Ok(None);
        };
        let mut refuse = |error: &str| {
            *bad_lines += 1;
            if *bad_lines <= MAX_LOGGED_LINES {
                warn!(file, line = number, error, "skipped a line that is none of a tape");
            }
            Ok(Some(Played::NoLine))
        };
        let Ok(text) = std::str::from_utf8(line) else { return refuse("it is no text") };
        let TapeLine { at, venue: named, content } = match TapeLine::parse(text) {
            Ok(line) => line,
            Err(error) => return refuse(&error_chain(&error)),
        };
        let adapter = match &named {
            Some(name) => venue(name.as_str()),
            None => *exchange,
        };
        let Some(adapter) = adapter else { return refuse("its venue is no exchange that is known") };
        let name = adapter.profile().venue;
        let nothing = Played::Ticks { at, ticks: Vec::new(), rounded: 0, refused: 0 };
        let frame = match content {
            Content::Received(frame) => frame,
            Content::Products(products) => {
                symbols.remove(name);
                listed.entry(name).or_default().extend(products);
                return Ok(Some(nothing));
            }
            Content::Lost(count) => {
                warn!(venue = name, count, ?at, "messages are missing on the tape: the recorder could not write them");
                return Ok(Some(nothing));
            }
            Content::Sent(_) => return Ok(Some(nothing)),
        };
        let venue = match &options.publish_as {
            Some(venue) => venue.clone(),
            None => Venue::parse(name).expect("the name of an exchange is one of a venue"),
        };
        let mut trades = Trades::new();
        if let Err(error) = adapter.decode(&frame, &mut trades) {
            return Ok(Some(Played::Bad(venue, BadMessage::new(frame.as_bytes(), error_chain(&error)))));
        }
        let received_at = clock::now();
        let (mut ticks, mut rounded, mut refused) = (Vec::with_capacity(trades.len()), 0, 0);
        for VenueTrade { product, id, price, size, at, was_rounded } in trades {
            let known = symbols.entry(name).or_default();
            let symbol = match known.get(&*product) {
                Some(symbol) => symbol.clone(),
                None => {
                    let symbol = symbol(name, &product, listed.get(name));
                    known.insert(product.into_owned(), symbol.clone());
                    symbol
                }
            };
            let (Some(symbol), true) = (symbol, options.max_ahead.check(at, received_at).is_ok()) else {
                refused += 1;
                continue;
            };
            rounded += u64::from(was_rounded);
            let (venue, kind, source) = (venue.clone(), TickKind::Trade, TickSource::File);
            let tick = Tick { venue, symbol, price, size: Some(size), at, received_at, kind, source };
            ticks.push((tick, id.to_string()));
        }
        Ok(Some(Played::Ticks { at, ticks, rounded, refused }))
    }
}

/// Returns the symbol of a product: by the list on the tape, else by its name.
fn symbol(venue: &str, product: &str, listed: Option<&ProductSymbols>) -> Option<Symbol> {
    if let Some(symbol) = listed.and_then(|listed| listed.get(product)) {
        return Some(symbol.clone());
    }
    let symbol = symbol_of_name(product);
    match &symbol {
        Some(symbol) => {
            info!(venue, product, %symbol, "the tape has no list of products; the symbol is made of the product's name")
        }
        None => warn!(venue, product, "skipped the trades of a product that is no symbol"),
    }
    symbol
}

/// Makes a symbol of a product's name, where no list says it: `BTC/USD`, and `btcusdt` with the longest quote that is known.
fn symbol_of_name(product: &str) -> Option<Symbol> {
    let (name, quotes) = (product.to_ascii_uppercase(), KnownQuotes::default());
    if name.contains(['-', '/', '_']) {
        return Symbol::from_input(&name, &quotes).ok();
    }
    let split = |at: usize| name.split_at_checked(at).filter(|(_, quote)| quotes.contains(quote));
    let splits = || (1..name.len()).filter_map(split);
    // USDTUSD is no pair of dollars and TUSD: a currency is the base of nothing but another currency.
    let (base, quote) = splits().find(|(base, _)| !is_currency(base)).or_else(|| splits().next())?;
    Symbol::parse(&format!("{base}-{quote}")).ok()
}

/// Recognises the exchange of a tape whose lines name none: the one whose decoder finds the most trades, else the most answers.
/// None where the lines name their venues.
fn recognise(path: &Path) -> Result<Option<&'static dyn Adapter>, PlayError> {
    let mut reader = TapeReader::open(path)?;
    let mut found = VENUES.map(|_| (0_usize, 0_usize));
    let mut sampled = 0;
    while sampled < MAX_SAMPLE
        && let Some(TapeText { text: line, .. }) = reader.next_line()?
    {
        let parsed: Result<TapeLine, TapeLineError> =
            std::str::from_utf8(line).map_err(|_| TapeLineError::Empty).and_then(TapeLine::parse);
        let Ok(TapeLine { venue, content, .. }) = parsed else { continue };
        let Content::Received(frame) = content else { continue };
        if venue.is_some() {
            return Ok(None);
        }
        sampled += 1;
        for (adapter, (trades, answers)) in VENUES.iter().zip(&mut found) {
            let mut decoded = Trades::new();
            match adapter.decode(&frame, &mut decoded) {
                Ok(Message::Skipped) | Err(_) => {}
                Ok(Message::Trades | Message::Snapshot) => *trades += decoded.len(),
                Ok(_) => *answers += 1,
            }
        }
    }
    if sampled == 0 {
        return Ok(None);
    }
    // The first of equal ones: Binance and Binance.US write the same messages.
    let best = VENUES.iter().zip(found).rev().max_by_key(|(_, found)| *found);
    match best.filter(|(_, found)| *found > (0, 0)) {
        Some((adapter, _)) => {
            info!(path = %path.display(), venue = adapter.profile().venue, "recognised the exchange of a tape");
            Ok(Some(*adapter))
        }
        None => Err(PlayError::UnknownVenue(path.display().to_string())),
    }
}

fn names() -> String {
    VENUES.map(|adapter| adapter.profile().venue).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_made_of_a_name_whose_quote_is_known() {
        for (product, symbol) in [
            ("BTC-USD", Some("BTC-USD")),
            ("BTC/USD", Some("BTC-USD")),
            ("btcusdt", Some("BTC-USDT")),
            ("NKNUSDT", Some("NKN-USDT")),
            ("sgbeur", Some("SGB-EUR")),
            ("ETHBTC", Some("ETH-BTC")),
            ("USDTUSD", Some("USDT-USD")),
            ("BTCFDUSD", Some("BTC-FDUSD")),
            ("EURUSD", Some("EUR-USD")),
            ("BTC-XYZ", None),
            ("USDT", None),
            ("BTCXYZ", None),
            ("币安usdt", None),
            ("", None),
        ] {
            assert_eq!(symbol_of_name(product).as_ref().map(Symbol::as_str), symbol, "{product}");
        }
    }

    fn play(text: &str, exchange: Option<&str>) -> Result<Vec<String>, PlayError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tape.ndjson");
        std::fs::write(&path, text).expect("written");
        let exchange = exchange.map(|name| Venue::parse(name).expect("a venue"));
        let mut player = Player::open(TapeOptions { path, exchange, publish_as: None, max_ahead: MaxAhead::DEFAULT })?;
        let mut played = Vec::new();
        while let Some(next) = player.play_next()? {
            match next {
                Played::Ticks { ticks, refused, .. } => {
                    played.extend(
                        ticks.iter().map(|(tick, id)| format!("{}:{}:{id} {}", tick.venue, tick.symbol, tick.price)),
                    );
                    played.extend((0..refused).map(|_| "refused".to_owned()));
                }
                Played::Bad(venue, bad) => played.push(format!("{venue}: {}", bad.reason)),
                Played::NoLine => played.push("no line".to_owned()),
            }
        }
        Ok(played)
    }

    #[test]
    fn the_tapes_of_testdata_give_what_their_messages_say() {
        let two = play(include_str!("../../../testdata/tapes/two-exchanges.ndjson"), None).expect("a tape");
        assert_eq!(two[..3], ["coinbase:BTC-USD:11 90000.10", "kraken:BTC-USD:7 90001", "kraken:BTC-USD:8 90001.5"]);
        assert!(two[3].starts_with("coinbase: it has not the documented shape"), "{two:?}");
        assert_eq!(two[4..], ["coinbase:BTC-USD:12 90000"]);
        let capture = play(include_str!("../../../testdata/tapes/capture.ndjson"), None).expect("a tape");
        assert_eq!(capture, ["okx:BTC-USDT:130639474 42219.9"]);
    }

    const TRADE: &str = r#"{"e":"aggTrade","E":1,"s":"BTCUSDT","a":7,"p":"5.5","q":"1","f":1,"l":2,"T":1600000000000,"m":true,"M":true}"#;

    #[test]
    fn the_lines_name_the_venue_and_the_head_its_products() {
        let tape = [
            r#"{"at":"2026-11-28T15:00:00Z","venue":"binanceus","products":{"BTCUSDT":"XBT-USDT"}}"#.to_owned(),
            format!(r#"{{"at":"2026-11-28T15:00:00Z","venue":"binanceus","received":{TRADE}}}"#),
            r#"{"at":"2026-11-28T15:00:00Z","venue":"binanceus","received":{"e":"aggTrade"}}"#.to_owned(),
            r#"{"at":"2026-11-28T15:00:00Z","venue":"nyse","received":{}}"#.to_owned(),
            r#"{"at":"2026-11-28T15:00:00Z","venue":"binanceus","lost":2}"#.to_owned(),
            "garbage".to_owned(),
        ];
        let played = play(&tape.join("\n"), None).expect("a tape");
        assert_eq!(played[0], "binanceus:XBT-USDT:7 5.5");
        assert!(played[1].starts_with("binanceus: it has not the documented shape"), "{played:?}");
        assert_eq!(played[2..], ["no line", "no line"]);
    }

    #[test]
    fn an_exchange_that_is_not_named_is_recognised_by_its_messages() {
        let capture = format!(r#"{{"at":1600000000.5,"received":{TRADE}}}"#);
        assert_eq!(play(&capture, None).expect("a tape"), ["binance:BTC-USDT:7 5.5"]);
        assert_eq!(play(&capture, Some("binanceus")).expect("a tape"), ["binanceus:BTC-USDT:7 5.5"]);
        for (file, name) in [
            (include_str!("../../../testdata/coinbase/live.ndjson"), "coinbase"),
            (include_str!("../../../testdata/coinbaseadvanced/live.ndjson"), "coinbaseadvanced"),
            (include_str!("../../../testdata/binance/live.ndjson"), "binance"),
            (include_str!("../../../testdata/kraken/live.ndjson"), "kraken"),
            (include_str!("../../../testdata/okx/live.ndjson"), "okx"),
            (include_str!("../../../testdata/bitstamp/live.ndjson"), "bitstamp"),
            (include_str!("../../../testdata/bybit/live.ndjson"), "bybit"),
        ] {
            let line = |frame: &str| {
                super::super::line::write_line(
                    Timestamp::EPOCH,
                    &Venue::parse(name).expect("a venue"),
                    &Content::Received(frame.into()),
                )
            };
            let named = format!(r#""venue":"{name}","#);
            let tape: Vec<String> = file.lines().map(|frame| line(frame).replace(&named, "")).collect();
            let played = play(&tape.join("\n"), None).expect(name);
            assert!(
                played.iter().filter(|tick| tick.starts_with(&format!("{name}:"))).count() > 1,
                "{name}: {played:?}"
            );
        }
        let error = play(r#"{"received":{"price":"5"}}"#, None).expect_err("nothing").to_string();
        assert!(error.contains("name it with --venue, one of coinbase,"), "{error}");
    }
}
