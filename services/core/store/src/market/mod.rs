//! The tables of the market data: instruments, ticks, candles and latest prices.

pub mod candle_list;
pub mod candles;
pub mod export;
pub mod instruments;
pub mod markets;
pub(crate) mod numeric;
pub mod partitions;
pub mod past_ticks;
pub mod products;
pub mod queries;
pub mod tick_list;
mod tick_rows;
pub mod ticks;
