//! The events that services exchange, one file for each subject.

pub mod alert;
pub mod candle;
pub mod dead_letter;
pub mod delivery;
pub mod feed;
pub mod late;
pub mod order;
pub mod order_request;
pub mod rule;
pub mod tick;
pub mod trade;
pub mod user;
