//! The feeds of exchanges: which symbols are followed, as operators want it ([`followed`]), how far each was published and what was
//! missed, as the price-ingestor saves it ([`progress`]), how all of that reads ([`status`]), and the gaps that prices rest on
//! ([`gaps`]).

pub mod followed;
pub mod gaps;
pub mod progress;
pub mod status;
