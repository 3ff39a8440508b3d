//! History as files: what leaves the database, and how the archive compares with it.

#[cfg(feature = "export")]
pub(crate) mod archive;
pub(crate) mod export;
mod progress;
