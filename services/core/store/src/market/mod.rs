//! The tables of the market data: instruments, ticks, candles and latest prices.

pub mod candle_list;
pub mod candles;
pub mod export;
pub mod instruments;
pub mod markets;
pub(crate) mod numeric;
pub mod partitions;
pub mod products;
pub mod queries;
pub mod tick_list;
pub(crate) mod tick_rows;
pub mod ticks;
