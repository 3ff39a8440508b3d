//! Streams that are missing, are others than before, or are not as declared.

mod changed;
mod missing;
mod others;
