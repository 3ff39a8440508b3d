//! History as files in a folder or in a store that speaks S3.
//!
//! A folder of the archive holds one day of one market: parts with rows, and a manifest that states what they hold. Rows are never
//! changed and parts never replaced. What was written under a name stays, so that a run that is repeated, or two at a time,
//! write nothing twice: see [`target`].

pub mod digest;
pub mod layout;
pub mod manifest;
#[cfg(feature = "export")]
pub mod parquet_part;
#[cfg(feature = "export")]
pub mod part_file;
#[cfg(feature = "export")]
pub mod part_rows;
pub mod sums;
pub mod table;
pub mod target;
