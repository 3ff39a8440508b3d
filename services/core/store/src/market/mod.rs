//! The tables of the market data: instruments, ticks, candles and latest prices.

pub mod candles;
pub mod instruments;
pub mod partitions;
pub mod queries;
pub mod ticks;
