//! Section `price_ingestor.file` of the settings: how a file is read where its header does not say it.

use std::{fmt::Display, str::FromStr};

use events::Symbol;
use market_data::{
    ReadOptions,
    recording::{CandlePrice, ColumnMap, Date, Format, Header, Order, Separator, TimeUnit, TimeZone},
};
use serde::{Deserialize, Deserializer, de};

/// How a file is read. An empty text means that the file says it itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The vendor whose layout the file has, like `binance-aggtrades`.
    #[serde(deserialize_with = "optional")]
    pub format: Option<Format>,
    /// The columns or keys that hold a trade, like `time=0,price=4,size=5` or `time=When,price=Last`.
    #[serde(deserialize_with = "optional")]
    pub columns: Option<ColumnMap>,
    /// The symbol of all lines.
    #[serde(deserialize_with = "optional")]
    pub symbol: Option<Symbol>,
    /// The separator of columns: one character, `tab` or `space`.
    #[serde(deserialize_with = "optional")]
    pub separator: Option<Separator>,
    /// The unit of times since 1970: `s`, `ms`, `us` or `ns`; by default the number of digits tells it.
    #[serde(deserialize_with = "optional")]
    pub time_unit: Option<TimeUnit>,
    /// The time zone of times that name none: `UTC`, an offset like `+05:30`, or `America/New_York`.
    #[serde(deserialize_with = "optional")]
    pub time_zone: Option<TimeZone>,
    /// The date of times of day without one, like `2018-04-05`.
    #[serde(deserialize_with = "optional")]
    pub date: Option<Date>,
    /// Whether the first line is a trade and names no columns.
    pub no_header: bool,
    /// Whether the newest line is first.
    pub newest_first: bool,
    /// What becomes of candles: `close` publishes the close of each.
    #[serde(deserialize_with = "optional")]
    pub candles: Option<CandlePrice>,
}

impl Settings {
    /// Returns the options of the reader.
    pub(crate) fn options(&self) -> ReadOptions {
        ReadOptions {
            format: self.format,
            columns: self.columns.clone().unwrap_or_default(),
            symbol: self.symbol.clone(),
            separator: self.separator,
            time_unit: self.time_unit,
            time_zone: self.time_zone,
            date: self.date,
            header: if self.no_header { Header::Absent } else { Header::Detect },
            order: if self.newest_first { Order::NewestFirst } else { Order::OldestFirst },
            candles: self.candles,
        }
    }
}

/// Reads text; an empty one is none.
fn optional<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(de::Error::custom) }
}
