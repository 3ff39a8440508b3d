//! Measures how many messages of an exchange one core decodes in a second, beside the same messages parsed by bare `serde_json`
//! into borrowed fields: `cargo bench -p benches --bench decode`.
//!
//! Both are measured in turn, five times; a ratio is the median of the five. Then it measures a message of the order book,
//! which is turned away by its type, and counts what a message allocates.

// A bench prints its result.
#![allow(clippy::print_stdout)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use price_ingestor::sources::exchange::{
    adapter::Adapter,
    message::{Message, Trades},
    venues::venue,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_millis(150);
/// The levels of a message of the order book.
const LEVELS: usize = 50;

/// What is measured of a venue.
struct Case {
    venue: &'static str,
    /// A message with a trade, as the venue documents it.
    trade: &'static str,
    /// A message of the order book before and behind its levels, and a level.
    order_book: [&'static str; 3],
    parse: fn(&str) -> bool,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct Coinbase<'frame> {
    #[serde(rename = "type")]
    kind: &'frame str,
    trade_id: u64,
    product_id: &'frame str,
    price: &'frame str,
    size: &'frame str,
    time: &'frame str,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct Advanced<'frame> {
    channel: &'frame str,
    #[serde(borrow)]
    events: Vec<AdvancedEvent<'frame>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct AdvancedEvent<'frame> {
    #[serde(rename = "type")]
    kind: &'frame str,
    #[serde(borrow)]
    trades: Vec<AdvancedTrade<'frame>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct AdvancedTrade<'frame> {
    trade_id: &'frame str,
    product_id: &'frame str,
    price: &'frame str,
    size: &'frame str,
    time: &'frame str,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct Binance<'frame> {
    stream: &'frame str,
    #[serde(borrow)]
    data: BinanceTrade<'frame>,
}

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

/// Numbers stay text, as they must for an exact price.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct Kraken<'frame> {
    channel: &'frame str,
    #[serde(rename = "type")]
    kind: &'frame str,
    #[serde(borrow)]
    data: Vec<KrakenTrade<'frame>>,
}

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

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct Okx<'frame> {
    #[serde(borrow)]
    arg: OkxArg<'frame>,
    #[serde(borrow)]
    data: Vec<OkxTrade<'frame>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct OkxArg<'frame> {
    channel: &'frame str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only parsing is measured")]
struct OkxTrade<'frame> {
    inst_id: &'frame str,
    trade_id: &'frame str,
    px: &'frame str,
    sz: &'frame str,
    ts: &'frame str,
    count: &'frame str,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct Bitstamp<'frame> {
    event: &'frame str,
    channel: &'frame str,
    #[serde(borrow)]
    data: BitstampTrade<'frame>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct BitstampTrade<'frame> {
    id: u64,
    price_str: &'frame str,
    amount_str: &'frame str,
    microtimestamp: &'frame str,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct Bybit<'frame> {
    topic: &'frame str,
    #[serde(borrow)]
    data: Vec<BybitTrade<'frame>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only parsing is measured")]
struct BybitTrade<'frame> {
    #[serde(rename = "s")]
    symbol: &'frame str,
    #[serde(rename = "i")]
    id: &'frame str,
    #[serde(rename = "p")]
    price: &'frame str,
    #[serde(rename = "v")]
    volume: &'frame str,
    #[serde(rename = "T")]
    traded_at: i64,
}

const BINANCE_TRADE: &str = r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1672515782136,"s":"BTCUSDT","a":2933013,"p":"69017.23000000","q":"0.01230000","f":100,"l":105,"T":1672515782136,"m":true,"M":true}}"#;
const BINANCE_BOOK: [&str; 3] = [
    r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT","U":157,"u":160,"b":["#,
    r#"["69017.23000000","0.01230000"]"#,
    r#"],"a":[]}}"#,
];

/// Binance.US sends what Binance sends.
const CASES: [Case; 8] = [
    Case {
        venue: "coinbase",
        trade: r#"{"type":"match","trade_id":812345001,"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8","taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","side":"sell","size":"0.0123","price":"69017.23","product_id":"BTC-USD","sequence":66512345678,"time":"2026-11-27T23:08:15.001200Z"}"#,
        order_book: [
            r#"{"type":"l2update","product_id":"BTC-USD","changes":["#,
            r#"["buy","69017.23","0.01230000"]"#,
            r#"],"time":"2026-11-27T23:08:15.001200Z"}"#,
        ],
        parse: |text| parses::<Coinbase>(text),
    },
    Case {
        venue: "coinbaseadvanced",
        trade: r#"{"channel":"market_trades","client_id":"","timestamp":"2026-11-27T23:08:15.039625135Z","sequence_num":12,"events":[{"type":"update","trades":[{"trade_id":"812345001","product_id":"BTC-USD","price":"69017.23","size":"0.0123","side":"BUY","time":"2026-11-27T23:08:15.001200Z"}]}]}"#,
        order_book: [
            r#"{"channel":"l2_data","client_id":"","timestamp":"2026-11-27T23:08:15.039625135Z","sequence_num":12,"events":[{"type":"update","product_id":"BTC-USD","updates":["#,
            r#"{"side":"bid","event_time":"2026-11-27T23:08:15.001200Z","price_level":"69017.23","new_quantity":"0.0123"}"#,
            "]}]}",
        ],
        parse: |text| parses::<Advanced>(text),
    },
    Case { venue: "binance", trade: BINANCE_TRADE, order_book: BINANCE_BOOK, parse: |text| parses::<Binance>(text) },
    Case { venue: "binanceus", trade: BINANCE_TRADE, order_book: BINANCE_BOOK, parse: |text| parses::<Binance>(text) },
    Case {
        venue: "kraken",
        trade: r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":69017.2,"qty":0.0123,"ord_type":"market","trade_id":4665906,"timestamp":"2026-11-27T23:08:15.001200Z"}]}"#,
        order_book: [
            r#"{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":["#,
            r#"{"price":69017.2,"qty":0.0123}"#,
            r#"],"asks":[],"checksum":2439117997,"timestamp":"2026-11-27T23:08:15.001200Z"}]}"#,
        ],
        parse: |text| parses::<Kraken>(text),
    },
    Case {
        venue: "okx",
        trade: r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"69017.2","sz":"0.0123","side":"buy","ts":"1764284895001","count":"3","source":"0","seqId":1234}]}"#,
        order_book: [
            r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":["#,
            r#"["69017.2","0.0123","0","1"]"#,
            r#"],"bids":[],"ts":"1764284895001","checksum":-855196043,"prevSeqId":123455,"seqId":123456}]}"#,
        ],
        parse: |text| parses::<Okx>(text),
    },
    Case {
        venue: "bitstamp",
        trade: r#"{"data":{"id":178095037,"timestamp":"1764284895","amount":0.0123,"amount_str":"0.01230000","price":69017.23,"price_str":"69017.23","type":0,"microtimestamp":"1764284895001200","buy_order_id":1364931411185664,"sell_order_id":1364931408629760},"channel":"live_trades_btcusd","event":"trade"}"#,
        order_book: [
            r#"{"data":{"timestamp":"1764284895","microtimestamp":"1764284895001200","bids":["#,
            r#"["69017.23","0.01230000"]"#,
            r#"],"asks":[]},"channel":"diff_order_book_btcusd","event":"data"}"#,
        ],
        parse: |text| parses::<Bitstamp>(text),
    },
    Case {
        venue: "bybit",
        trade: r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1764284895002,"data":[{"T":1764284895001,"s":"BTCUSDT","S":"Buy","v":"0.0123","p":"69017.20","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false}]}"#,
        order_book: [
            r#"{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1764284895002,"data":{"s":"BTCUSDT","b":["#,
            r#"["69017.20","0.0123"]"#,
            r#"],"a":[],"u":18521288,"seq":7961638724},"cts":1764284895001}"#,
        ],
        parse: |text| parses::<Bybit>(text),
    },
];

/// Returns whether the text is what is parsed.
fn parses<'frame, T: Deserialize<'frame>>(text: &'frame str) -> bool {
    let parsed: Result<T, _> = serde_json::from_str(text);
    black_box(parsed).is_ok()
}

fn decodes(adapter: &dyn Adapter, text: &str) -> bool {
    black_box(adapter.decode(text, &mut Trades::new())).is_ok()
}

/// Returns the picoseconds that one call takes.
fn picoseconds(message: &str, mut call: impl FnMut(&str) -> bool) -> u128 {
    let started = Instant::now();
    let mut calls = 0;
    while started.elapsed() < ROUND_TIME {
        for _ in 0..1_000 {
            black_box(call(black_box(message)));
        }
        calls += 1_000;
    }
    started.elapsed().as_nanos() * 1_000 / calls
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn measure(Case { venue: name, trade, order_book: [head, level, tail], parse }: &Case) {
    let adapter = venue(name).expect("a venue");
    let order_book = format!("{head}{}{tail}", [*level; LEVELS].join(","));
    assert!(matches!(adapter.decode(trade, &mut Trades::new()), Ok(Message::Trades)) && parse(trade), "{name}");
    assert!(matches!(adapter.decode(&order_book, &mut Trades::new()), Ok(Message::Skipped)), "{name}");
    assert!(parses::<IgnoredAny>(&order_book), "{name}");

    let (mut ours, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let our = picoseconds(trade, |text| decodes(adapter, text));
        let bare = picoseconds(trade, parse);
        ours.push(our);
        ratios.push(bare * 1_000 / our);
    }
    let skipped = picoseconds(&order_book, |text| decodes(adapter, text)) / 1_000;
    let whole = picoseconds(&order_book, |text| parses::<IgnoredAny>(text)) / 1_000;
    let allocated = allocation_counter::measure(|| _ = decodes(adapter, trade));
    let bare_allocated = allocation_counter::measure(|| _ = black_box(parse(trade)));
    let (our, ratio) = (median(ours), median(ratios));
    println!(
        "{name}: {} messages/s ({} ns), {}.{:03} of bare serde_json; allocates {} times, {} bytes (bare: {}, {}); a message of the \
         order book with {LEVELS} levels takes {skipped} ns, its parsing alone {whole} ns",
        1_000_000_000_000 / our,
        our / 1_000,
        ratio / 1_000,
        ratio % 1_000,
        allocated.count_total,
        allocated.bytes_total,
        bare_allocated.count_total,
        bare_allocated.bytes_total,
    );
}

fn main() {
    CASES.iter().for_each(measure);
}
