//! Reads a recording whole: every price of it may be asked for at any moment.

use std::{fs::File, path::Path};

use market_data::{LineError, Recording, RecordingError};
use platform::ServiceError;
use tracing::warn;

use crate::playback::Recorded;

/// The most prices that are kept in memory.
const MOST_PRICES: usize = 1_000_000;

/// The prices of the coins in a file; one or more.
pub(crate) fn read(path: &Path) -> Result<Recorded, ServiceError> {
    let shown = path.display();
    let unreadable = |error| {
        let what = format!("cannot read {shown}; name a CSV or NDJSON file in coinnews.source, as file:PATH");
        ServiceError::permanent(what, error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut recorded = rows(file).map_err(|error| match error {
        ReadError::Recording(RecordingError::Read { lines: 0, error }) => unreadable(error),
        ReadError::Recording(RecordingError::Header(error)) => {
            ServiceError::permanent(format!("{shown} is no recording"), error)
        }
        ReadError::Recording(error) => {
            ServiceError::permanent(format!("{shown} ends early or is damaged; get the file whole"), error)
        }
        ReadError::TooLong => {
            let why = format!("it has more than {MOST_PRICES}; play a part of it");
            ServiceError::permanent(format!("{shown} has too many prices to be played"), why)
        }
    })?;
    recorded.keep_coins();
    if recorded.count() == 0 {
        let why = "only what is quoted in dollars, like BTC-USD, is a coin";
        return Err(ServiceError::permanent(format!("{shown} holds no price of a coin"), why));
    }
    Ok(recorded)
}

enum ReadError {
    Recording(RecordingError),
    TooLong,
}

fn rows(file: File) -> Result<Recorded, ReadError> {
    let mut recording = Recording::open(file).map_err(ReadError::Recording)?;
    let (mut recorded, mut bad) = (Recorded::default(), BadLines::default());
    while let Some((line, row)) = recording.next_row().map_err(ReadError::Recording)? {
        match row {
            Ok(_) if recorded.count() == MOST_PRICES => return Err(ReadError::TooLong),
            Ok(row) => recorded.add(row),
            Err(error) => bad.note(line, error),
        }
    }
    bad.say();
    Ok(recorded)
}

/// Lines that are no price: the first, and how many.
#[derive(Default)]
struct BadLines {
    first: Option<(u64, LineError)>,
    count: u64,
}

impl BadLines {
    fn note(&mut self, line: u64, error: LineError) {
        self.count += 1;
        self.first.get_or_insert((line, error));
    }

    fn say(&self) {
        if let Some((line, error)) = &self.first {
            warn!(bad_lines = self.count, line, %error, "bad lines passed over, this one the first");
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
    fn the_prices_of_coins_are_read_and_bad_lines_passed_over() {
        assert_eq!(read_text(CSV), Ok(1));
        assert_eq!(read_text(r#"{"time":"2026-01-01T00:00:00Z","symbol":"BTC-USD","price":"68000"}"#), Ok(1));
    }

    #[test]
    fn a_file_that_holds_nothing_to_play_is_refused_with_what_would() {
        for (text, said) in [
            ("", "no column \"time\""),
            ("time,symbol,price\n", "holds no price of a coin: only what is quoted in dollars, like BTC-USD"),
            ("time,symbol,price\n2026-01-01T00:00:00Z,SPY,1\n", "holds no price of a coin"),
        ] {
            let error = read_text(text).expect_err(text);
            assert!(error.contains(said), "{error}");
        }
        let error = read(Path::new("/nowhere.csv")).expect_err("no file");
        assert!(error_chain(&error).starts_with("cannot read /nowhere.csv; name a CSV or NDJSON file"), "{error}");
    }
}
