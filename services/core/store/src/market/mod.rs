//! Ticks, candles and latest prices: how they are written and how they are read.

pub mod history;
pub mod queries;
