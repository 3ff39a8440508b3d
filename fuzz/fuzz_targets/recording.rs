//! The file reader: whatever the bytes are, it ends, does not panic, and gives trades that are written as they are read.

#![no_main]

use std::io::Cursor;

use events::{TickPage, Timestamp, Venue};
use libfuzzer_sys::fuzz_target;
use market_data::{
    ReadOptions, Recording, TickIds,
    recording::{Header, Order},
};

/// Formats by the first byte of the input, so that one target reaches all of them.
const FORMATS: [&str; 15] = [
    "",
    "binance-aggtrades",
    "binance-klines",
    "binance-trades",
    "bitcoincharts",
    "bybit",
    "coinbase",
    "cryptodatadownload",
    "kaiko",
    "kraken",
    "kraken-ohlcvt",
    "stooq",
    "tardis",
    "taq",
    "yahoo",
];

fuzz_target!(|input: &[u8]| {
    let [choice, file @ ..] = input else { return };
    let format = FORMATS[usize::from(*choice & 0x0F) % FORMATS.len()];
    let options = ReadOptions {
        format: format.parse().ok(),
        symbol: (choice & 0x10 != 0).then(|| "BTC-USD".parse().expect("a symbol")),
        candles: (choice & 0x20 != 0).then(|| "close".parse().expect("a price")),
        order: if choice & 0x40 != 0 { Order::NewestFirst } else { Order::OldestFirst },
        header: if choice & 0x80 != 0 { Header::Absent } else { Header::Detect },
        ..ReadOptions::default()
    };
    read(Recording::open(Cursor::new(file.to_vec()), &options));
    read(Recording::open_stream(Cursor::new(file.to_vec()), &options));
});

fn read(recording: Result<Recording, market_data::RecordingError>) {
    let Ok(mut recording) = recording else { return };
    let venue: Venue = "file".parse().expect("a venue");
    let mut ids = TickIds::default();
    while let Ok(Some(line)) = recording.next_line() {
        let Ok(mut trade) = line.trade else { continue };
        let id = trade.id.take();
        let tick = trade.into_tick(&venue, Timestamp::EPOCH);
        let page = TickPage::of(tick.clone(), "7".to_owned());
        assert_eq!(serde_json::from_slice::<TickPage>(&page.to_message().body).expect("what was written"), page);
        if let Ok(id) = ids.next(&tick, id) {
            assert!(!id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        }
    }
}
