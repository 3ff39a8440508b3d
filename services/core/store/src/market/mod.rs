//! Ticks, candles and latest prices: how they are written and how they are read.

pub mod candles;
pub mod instruments;
pub mod partitions;
pub mod queries;
pub mod ticks;
