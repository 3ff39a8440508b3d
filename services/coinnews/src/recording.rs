//! Reads a whole recording into memory, because a client may request any of its prices at any time.

use std::{fs::File, path::Path};

use market_data::{LineError, ReadOptions, Recording, RecordingError, RecordingLine};
use platform::ServiceError;
use tracing::warn;

use crate::playback::RecordedPrices;

/// The most prices of a recording.
const MAX_PRICES: usize = 1_000_000;

/// Returns the prices of the coins in a file. The error is permanent: the file cannot be read, is too long, or contains
/// no price of a coin.
pub(crate) fn read(path: &Path) -> Result<RecordedPrices, ServiceError> {
    let shown = path.display();
    let open_error = |error| {
        let what = format!("cannot read {shown}; name a CSV or NDJSON file in coinnews.source, as file:PATH");
        ServiceError::permanent(what, error)
    };
    let file = File::open(path).map_err(open_error)?;
    let mut recorded = read_prices(file).map_err(|error| match error {
        ReadError::Recording(RecordingError::Read { lines: 0, error }) => open_error(error),
        ReadError::Recording(error @ (RecordingError::Shape(_) | RecordingError::Input(_))) => {
            ServiceError::permanent(format!("{shown} is not a recording"), error)
        }
        ReadError::Recording(error) => {
            ServiceError::permanent(format!("{shown} is truncated or damaged; get an undamaged copy"), error)
        }
        ReadError::TooManyPrices => {
            let cause = format!("it has more than {MAX_PRICES}; cut the file into parts");
            ServiceError::permanent(format!("{shown} has too many prices to be replayed"), cause)
        }
    })?;
    recorded.retain_coins();
    if recorded.count() == 0 {
        let cause = "only symbols quoted in dollars, like BTC-USD, are coins";
        return Err(ServiceError::permanent(format!("{shown} contains no price of a coin"), cause));
    }
    Ok(recorded)
}

enum ReadError {
    Recording(RecordingError),
    TooManyPrices,
}

fn read_prices(file: File) -> Result<RecordedPrices, ReadError> {
    let mut recording = Recording::open(file, &ReadOptions::default()).map_err(ReadError::Recording)?;
    let (mut recorded, mut bad_lines) = (RecordedPrices::default(), BadLines::default());
    while let Some(RecordingLine { number, trade }) = recording.next_line().map_err(ReadError::Recording)? {
        match trade {
            Ok(_) if recorded.count() == MAX_PRICES => return Err(ReadError::TooManyPrices),
            Ok(trade) => recorded.add(trade),
            Err(error) => bad_lines.add(number, error),
        }
    }
    bad_lines.log();
    Ok(recorded)
}

/// The lines that are not a trade: the first of them, and their number.
#[derive(Default)]
struct BadLines {
    first: Option<(u64, LineError)>,
    count: u64,
}

impl BadLines {
    fn add(&mut self, line: u64, error: LineError) {
        self.count += 1;
        self.first.get_or_insert((line, error));
    }

    fn log(&self) {
        if let Some((line, error)) = &self.first {
            warn!(bad_lines = self.count, line, %error, "skipped bad lines, of which this is the first");
        }
    }
}

#[cfg(test)]
mod tests {
    use platform::runtime::error::error_chain;

    use super::*;

    fn read_text(text: &str) -> Result<usize, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("prices.csv");
        std::fs::write(&file, text).expect("written");
        read(&file).map(|recorded| recorded.count()).map_err(|fault| error_chain(&fault))
    }

    const CSV: &str = "time,symbol,price,size\n2026-01-01T00:00:00Z,BTC-USD,68000,\nbad\n2026-01-01T00:00:00Z,SPY,1,\n";

    #[test]
    fn prices_of_coins_are_read_and_bad_lines_skipped() {
        assert_eq!(read_text(CSV), Ok(1));
        assert_eq!(read_text(r#"{"time":"2026-01-01T00:00:00Z","symbol":"BTC-USD","price":"68000"}"#), Ok(1));
    }

    #[test]
    fn a_file_without_a_price_of_a_coin_is_rejected_with_the_reason() {
        for (text, expected) in [
            ("", "no lines"),
            ("price\n", "no column \"time\""),
            ("time,symbol,price\n", "contains no price of a coin: only symbols quoted in dollars, like BTC-USD"),
            ("time,symbol,price\n2026-01-01T00:00:00Z,SPY,1\n", "contains no price of a coin"),
        ] {
            let error = read_text(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
        let error = read(Path::new("/nowhere.csv")).expect_err("no file");
        assert!(error_chain(&error).starts_with("cannot read /nowhere.csv; name a CSV or NDJSON file"), "{error}");
    }
}
