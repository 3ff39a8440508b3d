//! Values that check themselves when they are read: names, decimals and times.

pub mod asset;
mod decimal_text;
pub mod money;
pub mod quotes;
mod rfc3339;
pub mod symbol;
pub mod time;
