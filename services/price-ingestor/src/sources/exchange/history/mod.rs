//! What a venue offers by REST: its products, and trades that were missed.

mod client;
mod fill;
mod products;

pub(crate) use client::{RestClient, RestError};
pub(crate) use fill::{FillError, Pages, PastTrade};
pub(crate) use products::Products;
