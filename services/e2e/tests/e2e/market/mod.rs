//! Prices: their history, candles, repeats, recorded files, and the coinnews source.

mod candle_memory;
mod coinnews;
mod feeds;
mod history;
mod price_list;
mod recordings;
mod repeats;
mod share_classes;
mod streams;
