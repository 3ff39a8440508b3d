//! Captures of exchanges, which lie beside the clone, decode to exactly the trades that a straightforward reading in Python
//! finds in the same files: `make test-recorded`.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use events::{Timestamp, Venue};
use flate2::read::GzDecoder;
use market_data::MaxAhead;
use price_ingestor::sources::{
    exchange::{
        message::{Trades, VenueTrade},
        venues::venue,
    },
    tape::{Content, Played, Player, TapeLimits, TapeOptions, TapeWriter},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The captures, and the venues that they are of.
const CAPTURES: [(&str, &str); 5] = [
    ("coinbase.ndjson.gz", "coinbase"),
    ("coinbase-advanced.ndjson", "coinbaseadvanced"),
    ("binance.ndjson.gz", "binance"),
    ("kraken-v2.ndjson", "kraken"),
    ("bitstamp.ndjson.gz", "bitstamp"),
];

/// A line of a capture: what was sent, or what was received.
#[derive(Deserialize)]
struct Line<'line> {
    #[serde(borrow, default)]
    received: Option<&'line RawValue>,
}

fn captures() -> PathBuf {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root of the clone");
    std::env::var_os("TICKBELL_SHARED").map_or_else(|| clone.join("../shared"), PathBuf::from).join("data/feeds")
}

/// Returns the messages that were received.
fn received(folder: &Path, file: &str) -> Vec<String> {
    let path = folder.join(file);
    let opened = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let input: Box<dyn Read> = if file.ends_with(".gz") { Box::new(GzDecoder::new(opened)) } else { Box::new(opened) };
    let message = |line: std::io::Result<String>| {
        let line = line.expect("a line");
        let Line { received } = serde_json::from_str(&line).expect("JSON");
        Some(received?.get().to_owned())
    };
    BufReader::new(input).lines().filter_map(message).collect()
}

fn decoded(folder: &Path, file: &str, name: &str) -> Vec<String> {
    let adapter = venue(name).expect("a venue");
    let mut lines = Vec::new();
    for message in received(folder, file) {
        let mut trades = Trades::new();
        if let Err(error) = adapter.decode(&message, &mut trades) {
            panic!("{file}: {error}: {message}");
        }
        lines.extend(trades.iter().map(|VenueTrade { product, id, price, size, at, .. }| {
            format!("{name} {product} {id} {price} {size} {}", at.micros())
        }));
    }
    lines
}

/// Returns the trades that the Python reading finds.
fn expected(folder: &Path) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures.py");
    let output = Command::new("python3").arg(script).arg(folder).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(ToOwned::to_owned).collect()
}

/// Returns the trades of a tape, with the symbol in place of the product.
fn played(path: &Path) -> Vec<String> {
    let options = TapeOptions { path: path.to_owned(), exchange: None, publish_as: None, max_ahead: MaxAhead::DEFAULT };
    let mut player = Player::open(options).expect("a tape");
    let mut trades = Vec::new();
    while let Some(played) = player.play_next().expect("a line") {
        let Played::Ticks { ticks, refused: 0, .. } = played else { panic!("{}: {played:?}", path.display()) };
        trades.extend(ticks.into_iter().map(|(tick, id)| {
            let (price, size) = (tick.price, tick.size.expect("a size"));
            format!("{} {} {id} {price} {size} {}", tick.venue, tick.symbol, tick.at.micros())
        }));
    }
    trades
}

/// Leaves out how the product is written: `BTC/USD` and `btcusd` are BTC-USD.
fn with_plain_product(trade: &str) -> String {
    let mut fields: Vec<String> = trade.split(' ').map(ToOwned::to_owned).collect();
    fields[1] = fields[1].to_uppercase().replace(['-', '/'], "");
    fields.join(" ")
}

#[test]
fn captures_decode_to_the_trades_that_they_contain() {
    let folder = captures();
    let decoded: Vec<String> = CAPTURES.iter().flat_map(|(file, name)| decoded(&folder, file, name)).collect();
    assert!(decoded.len() > 50, "{} trades", decoded.len());
    assert_eq!(decoded, expected(&folder));
}

#[test]
fn captures_play_as_tapes_and_so_do_recordings_of_them() {
    let folder = captures();
    let expected: Vec<String> = expected(&folder).iter().map(|trade| with_plain_product(trade)).collect();
    let as_they_are = CAPTURES.iter().flat_map(|(file, _)| played(&folder.join(file)));
    assert_eq!(as_they_are.map(|trade| with_plain_product(&trade)).collect::<Vec<_>>(), expected);

    // Recorded into one folder, in files that are ended again and again.
    let tape = tempfile::tempdir().expect("a folder");
    let limits = TapeLimits { file_bytes: 20_000, file_age: Duration::from_secs(3_600), total_bytes: 1 << 30 };
    let mut writer = TapeWriter::open(tape.path(), limits).expect("a writer");
    let mut at = 0;
    for (file, name) in CAPTURES {
        let venue = Venue::parse(name).expect("a venue");
        for message in received(&folder, file) {
            at += 1_000;
            let at = Timestamp::from_micros(at).expect("a time");
            writer.write(at, &venue, &Content::Received(message.into())).expect("written");
            writer.flush().expect("flushed");
        }
    }
    let totals = writer.finish().expect("finished");
    assert!(totals.files > 3 && totals.deleted == 0, "{totals:?}");
    assert_eq!(played(tape.path()).iter().map(|trade| with_plain_product(trade)).collect::<Vec<_>>(), expected);
}
