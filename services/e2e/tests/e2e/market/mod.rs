//! Prices: their history, candles, recorded files, and the coinnews source.

mod coinnews;
mod history;
mod recordings;
