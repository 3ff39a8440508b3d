//! The feeds of exchanges: which symbols are followed, as operators want it ([`followed`]), how far each was published and what was
//! missed, as the price-ingestor saves it ([`progress`]), and how all of that reads ([`status`]).

pub mod followed;
pub mod progress;
pub mod status;
