//! Live prices of exchanges.
//!
//! [`adapter::Adapter`] is what a venue has to say about itself; each venue has a folder of a fixed shape. No exchange is
//! reachable from our tests: recordings and a server of our own stand in.

pub mod adapter;
mod binance;
mod bitstamp;
mod bybit;
mod coinbase;
mod coinbase_advanced;
mod connection;
pub mod continuity;
pub mod feed;
mod fields;
mod history;
mod kraken;
pub mod message;
mod okx;
mod outlet;
mod plain_json;
mod saving;
pub mod settings;
#[cfg(test)]
mod shown;
pub(crate) mod source;
mod unsaved;
pub mod venues;
