//! The tables of the market data: instruments, ticks, candles and latest prices.

pub mod candles;
pub mod instruments;
pub mod partitions;
pub mod queries;
mod tick_rows;
pub mod ticks;
