//! The layouts of vendors' files.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Text that names no format.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{0:?} is not a format: use one of {list}", list = names())]
pub struct FormatError(String);

/// A vendor whose files have a known layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aggregate trades from data.binance.vision: github.com/binance/binance-public-data.
    BinanceAggTrades,
    /// Klines from data.binance.vision.
    BinanceKlines,
    /// Trades from data.binance.vision.
    BinanceTrades,
    /// Trades of api.bitcoincharts.com: seconds, price and amount.
    Bitcoincharts,
    /// Trades of derivatives from public.bybit.com.
    Bybit,
    /// The fills that Coinbase Pro exported.
    Coinbase,
    /// Candles of cryptodatadownload.com.
    CryptoDataDownload,
    /// Tick-level trades: docs.kaiko.com, "All trades".
    Kaiko,
    /// The downloadable time and sales of Kraken.
    Kraken,
    /// The downloadable OHLCVT data of Kraken.
    KrakenOhlcvt,
    /// Daily and intraday candles of stooq.com.
    Stooq,
    /// Trades as tardis.dev's datasets have them: docs.tardis.dev, "CSV format details".
    Tardis,
    /// Trades of NYSE TAQ, as NYSE and WRDS write them.
    Taq,
    /// Candles that Yahoo Finance and yfinance export.
    Yahoo,
}

/// All formats and their names on the command line.
const FORMATS: [(&str, Format); 14] = [
    ("binance-aggtrades", Format::BinanceAggTrades),
    ("binance-klines", Format::BinanceKlines),
    ("binance-trades", Format::BinanceTrades),
    ("bitcoincharts", Format::Bitcoincharts),
    ("bybit", Format::Bybit),
    ("coinbase", Format::Coinbase),
    ("cryptodatadownload", Format::CryptoDataDownload),
    ("kaiko", Format::Kaiko),
    ("kraken", Format::Kraken),
    ("kraken-ohlcvt", Format::KrakenOhlcvt),
    ("stooq", Format::Stooq),
    ("tardis", Format::Tardis),
    ("taq", Format::Taq),
    ("yahoo", Format::Yahoo),
];

impl Format {
    /// Returns whether each line is a candle, and no trade.
    pub fn has_candles(self) -> bool {
        matches!(self, Self::BinanceKlines | Self::CryptoDataDownload | Self::KrakenOhlcvt | Self::Stooq | Self::Yahoo)
    }
}

impl FromStr for Format {
    type Err = FormatError;
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let known = FORMATS.iter().find(|(name, _)| *name == text);
        known.map(|(_, format)| *format).ok_or_else(|| FormatError(text.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FORMATS.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

fn names() -> String {
    FORMATS.map(|(name, _)| name).join(", ")
}
