//! Prices: their history, candles, and the coinnews source.

mod coinnews;
mod history;
