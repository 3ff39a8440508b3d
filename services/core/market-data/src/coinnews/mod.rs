//! The messages of the coinnews API, and which symbol stands for a coin. The poller in `price-ingestor` reads them and
//! the sandbox server `coinnews` writes them, so that one definition serves both.
//!
//! `GET /api/data` returns a list of coins, `GET /api/data/{coin}` a [`Quote`], and `GET /api/data/{coin}/history` a
//! list of [`HistoryEntry`].

mod coins;

use events::{Price, Timestamp, money::Rounded};
use serde::{Deserialize, Serialize, Serializer, ser};
use serde_json::Number;

pub use coins::{coin_of_symbol, symbol_of_coin};

/// The current price of a coin, as `GET /api/data/{coin}` returns it. Other fields of the answer are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The price in dollars, a JSON number that is read and written digit by digit. An API that calculates in floats writes more
    /// digits than a price has.
    #[serde(serialize_with = "as_number")]
    pub value: Rounded<Price>,
    /// The time of the price.
    pub updated_at: Timestamp,
}

/// A past price of a coin, as `GET /api/data/{coin}/history` returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The price in dollars, a JSON number that is read and written digit by digit.
    #[serde(serialize_with = "as_number")]
    pub value: Rounded<Price>,
    /// The time of the price.
    pub date: Timestamp,
}

/// Writes a price as a JSON number, as the coinnews API has it; our own events carry prices as text.
fn as_number<S: Serializer>(price: &Rounded<Price>, serializer: S) -> Result<S::Ok, S::Error> {
    let number: Number = price.value.to_string().parse().map_err(ser::Error::custom)?;
    number.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_digit_by_digit() {
        let body = r#"{"name": "bitcoin", "value": 0.1000000000000000055, "market_value": 1, "roc": -0.2,
            "updated_at": "2023-06-01T09:45:46.4501+03:30"}"#;
        let quote: Quote = serde_json::from_str(body).expect("a quote");
        assert_eq!((quote.value.value.to_string().as_str(), quote.value.was_rounded), ("0.100000000000000006", true));
        let quote: Quote = serde_json::from_str(&body.replace("000000000000055", "")).expect("a quote");
        assert_eq!((quote.value.value.to_string().as_str(), quote.value.was_rounded), ("0.1000", false));
        assert_eq!(quote.updated_at.to_string(), "2023-06-01T06:15:46.450100Z");
    }

    #[test]
    fn numbers_are_written_digit_by_digit() {
        let date: Timestamp = "2023-06-01T06:15:46.4501Z".parse().expect("a time");
        for value in ["68000.10", "0.1000", "0.000000000001", "99999999999999.99999999999999"] {
            let past = HistoryEntry { value: value.parse().expect("a price"), date };
            let written = serde_json::to_string(&past).expect("JSON");
            assert_eq!(written, format!(r#"{{"value":{value},"date":"2023-06-01T06:15:46.450100Z"}}"#));
            assert_eq!(serde_json::from_str::<HistoryEntry>(&written).expect("what was written"), past);
        }
    }
}
