//! The page of latest prices, a table that needs no JavaScript: what stands in it, how it looks, and the same as JSON.
//!
//! The gateway serves the page at `/prices`, and `tickbell export site` writes it as files. The crate has no clock, no I/O and no
//! async: prices go in, text comes out.

mod document;
mod icon;
mod live_pointer;
mod page;
mod points;
mod row;
mod spark_line;

pub use document::{DocumentError, PricesDocument, digest};
pub use icon::{IconError, IconType, Icons};
pub use live_pointer::{Colour, LivePointer, UnknownColour};
pub use page::{Links, PricePage, STYLE, style_hash};
pub use points::{Point, Points};
pub use row::{PriceRow, fold};
