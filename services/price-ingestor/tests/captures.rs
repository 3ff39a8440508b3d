//! Captures of exchanges, which lie beside the clone, decode to exactly the trades that a straightforward reading in Python
//! finds in the same files: `make test-recorded`.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::read::GzDecoder;
use price_ingestor::sources::exchange::{message::VenueTrade, venues::venue};
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

#[expect(clippy::disallowed_methods, reason = "where the captures are is no setting of the program")]
fn captures() -> PathBuf {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root of the clone");
    std::env::var_os("TICKBELL_SHARED").map_or_else(|| clone.join("../shared"), PathBuf::from).join("data/feeds")
}

fn decoded(folder: &Path, file: &str, name: &str) -> Vec<String> {
    let path = folder.join(file);
    let opened = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let input: Box<dyn Read> = if file.ends_with(".gz") { Box::new(GzDecoder::new(opened)) } else { Box::new(opened) };
    let adapter = venue(name).expect("a venue");
    let mut lines = Vec::new();
    for line in BufReader::new(input).lines() {
        let line = line.expect("a line");
        let Line { received } = serde_json::from_str(&line).expect("JSON");
        let Some(message) = received else { continue };
        let mut trades = Vec::new();
        if let Err(error) = adapter.decode(message.get(), &mut trades) {
            panic!("{file}: {error}: {message}");
        }
        lines.extend(trades.iter().map(|VenueTrade { product, id, price, size, at, .. }| {
            format!("{name} {product} {id} {price} {size} {}", at.micros())
        }));
    }
    lines
}

#[test]
fn captures_decode_to_the_trades_that_they_contain() {
    let folder = captures();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures.py");
    let output = Command::new("python3").arg(script).arg(&folder).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = String::from_utf8(output.stdout).expect("text");
    let decoded: Vec<String> = CAPTURES.iter().flat_map(|(file, name)| decoded(&folder, file, name)).collect();
    assert!(decoded.len() > 50, "{} trades", decoded.len());
    assert_eq!(decoded, expected.lines().collect::<Vec<_>>());
}
