//! Measures how many messages of an exchange one core decodes in a second, beside the same messages parsed by bare `serde_json`
//! into borrowed fields: `cargo bench -p benches --bench decode`. The messages are those of the price-ingestor's `testdata`.

// A bench prints its result.
#![allow(clippy::print_stdout)]

use std::{hint::black_box, time::Instant};

use price_ingestor::sources::exchange::{adapter::Adapter, message::Message, venues::venue};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How often the messages are decoded in one round. The best of the rounds counts.
const PASSES: u32 = 20_000;
const ROUNDS: u32 = 7;

/// The fields of a trade of Coinbase, parsed and not read.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct CoinbaseTrade<'frame> {
    #[serde(rename = "type")]
    kind: &'frame str,
    trade_id: u64,
    product_id: &'frame str,
    price: &'frame str,
    size: &'frame str,
    time: &'frame str,
}

/// The fields of a trade of Binance.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct BinanceTrade<'frame> {
    #[serde(rename = "s")]
    symbol: &'frame str,
    #[serde(rename = "a")]
    id: u64,
    #[serde(rename = "p")]
    price: &'frame str,
    #[serde(rename = "q")]
    quantity: &'frame str,
    #[serde(rename = "T")]
    traded_at: i64,
}

/// A message of a combined stream of Binance.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct BinanceMessage<'frame> {
    stream: &'frame str,
    #[serde(borrow)]
    data: BinanceTrade<'frame>,
}

/// The fields of a trade of Kraken, whose numbers stay text.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct KrakenTrade<'frame> {
    symbol: &'frame str,
    #[serde(borrow)]
    price: &'frame RawValue,
    #[serde(borrow)]
    qty: &'frame RawValue,
    trade_id: u64,
    timestamp: &'frame str,
}

/// A message of Kraken.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct KrakenMessage<'frame> {
    channel: &'frame str,
    #[serde(borrow)]
    data: Vec<KrakenTrade<'frame>>,
}

/// The fields of a trade of OKX.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only parsing is measured")]
struct OkxTrade<'frame> {
    inst_id: &'frame str,
    trade_id: &'frame str,
    px: &'frame str,
    sz: &'frame str,
    ts: &'frame str,
}

/// A message of OKX.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct OkxMessage<'frame> {
    #[serde(borrow)]
    data: Vec<OkxTrade<'frame>>,
}

/// Returns whether the text is what is parsed.
fn parses<'frame, T: Deserialize<'frame>>(text: &'frame str) -> bool {
    let parsed: Result<T, _> = serde_json::from_str(text);
    black_box(parsed).is_ok()
}

/// Returns the nanoseconds that one message takes.
fn nanoseconds(messages: &[&str], mut decode: impl FnMut(&str)) -> u128 {
    let round = |_| {
        let started = Instant::now();
        for _ in 0..PASSES {
            messages.iter().for_each(|message| decode(black_box(message)));
        }
        started.elapsed().as_nanos() / u128::from(PASSES) / messages.len() as u128
    };
    (0..ROUNDS).map(round).min().unwrap_or_default().max(1)
}

fn compare(name: &str, file: &'static str, is_bare: fn(&str) -> bool) {
    let adapter: &dyn Adapter = venue(name).expect("a venue");
    let is_trade =
        |message: &&str| matches!(adapter.decode(message, &mut Vec::new()), Ok(Message::Trades)) && is_bare(message);
    let trades: Vec<&'static str> = file.lines().filter(is_trade).collect();
    let skipped: Vec<&'static str> = file
        .lines()
        .filter(|message| matches!(adapter.decode(message, &mut Vec::new()), Ok(Message::Skipped)))
        .collect();
    let ours = nanoseconds(&trades, |message| _ = black_box(adapter.decode(message, &mut Vec::new()).is_ok()));
    let bare = nanoseconds(&trades, |message| _ = black_box(is_bare(message)));
    let unwanted = nanoseconds(&skipped, |message| _ = black_box(adapter.decode(message, &mut Vec::new()).is_ok()));
    let percent = bare * 100 / ours;
    let per_second = 1_000_000_000 / ours;
    println!(
        "{name}: {per_second} messages/s ({ours} ns), {percent} % of bare serde_json ({bare} ns); one that is not wanted takes \
         {unwanted} ns"
    );
}

fn main() {
    compare("coinbase", include_str!("../services/price-ingestor/testdata/coinbase/live.ndjson"), |text| {
        parses::<CoinbaseTrade>(text)
    });
    compare("binance", include_str!("../services/price-ingestor/testdata/binance/live.ndjson"), |text| {
        parses::<BinanceMessage>(text)
    });
    compare("kraken", include_str!("../services/price-ingestor/testdata/kraken/live.ndjson"), |text| {
        parses::<KrakenMessage>(text)
    });
    compare("okx", include_str!("../services/price-ingestor/testdata/okx/live.ndjson"), |text| {
        parses::<OkxMessage>(text)
    });
}
