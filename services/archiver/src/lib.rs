//! The archiver: closed history in, files out.
//!
//! `rows` reads pages of ticks and candles, `encoder` makes parts of them, `found` reads what the archive has of a day, `day` puts a
//! day of a market into the archive, `walk` does so with all days of a range, `service` again and again with those that are over, and
//! `verify` compares the archive with the database.

mod day;
mod encoder;
mod error;
mod found;
mod rows;
#[cfg(feature = "export")]
mod service;
mod settings;
#[cfg(feature = "export")]
mod verify;
mod walk;

/// The name of the folder, crate, subcommand, Deployment and `service.name`.
pub const SERVICE: &str = "archiver";

pub use day::{Archive, Exported, day_of};
pub use encoder::Format;
pub use error::ArchiveError;
pub use object_archive::target::{Target, TargetError};
pub use rows::{Subject, write_text};
#[cfg(feature = "export")]
pub use service::run;
pub use settings::Settings;
#[cfg(feature = "export")]
pub use verify::{Difference, day_difference, days as verify};
pub use walk::{Selection, write};
