//! The page of prices as files: `tickbell export site`.

pub(crate) mod export;
mod files;
mod prices;
