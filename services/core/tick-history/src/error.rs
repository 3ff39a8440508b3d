//! Why ticks could not be read, sorted by what happens next.

use events::Timestamp;
use object_archive::target::TargetError;
use thiserror::Error;

/// Why ticks could not be read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// The folder or the store of the archive failed.
    #[error("the archive")]
    Archive(#[from] TargetError),
    /// The ticks were dropped from the database, and no archive ever had all of them.
    #[error("the ticks from {from} to {to} are no longer in the database, and {why}; ask for a range without them")]
    Missing {
        /// The start of the first day that is missing.
        from: Timestamp,
        /// The end of the last day that is missing.
        to: Timestamp,
        /// Why they cannot be had from an archive.
        why: String,
    },
    /// The ticks were dropped from the database once the archive had all of them, and now it lacks some.
    #[error(
        "the ticks from {from} to {to} are no longer in the database, and {why}, which had them all: restore its files"
    )]
    Lost {
        /// The start of the day.
        from: Timestamp,
        /// The end of the day.
        to: Timestamp,
        /// This says how many of the ticks the archive has.
        why: String,
    },
    /// A file of the archive is not what it should be.
    #[error("the archive: {0}")]
    Damaged(String),
    /// The parts of one time need more memory than all readers may take.
    #[error(
        "the files of {markets} markets on {day} need {mebibytes} MiB of memory at a time, which is too much; ask for one venue"
    )]
    TooWide {
        /// The start of the day.
        day: Timestamp,
        /// The number of markets that have the parts.
        markets: usize,
        /// The memory that they need, in MiB.
        mebibytes: u64,
    },
    /// Others read so much of the archive that there was no memory for it in time.
    #[cfg(feature = "export")]
    #[error("others read as much of the archive as there is memory for")]
    Busy,
    /// A task of the program has panicked.
    #[cfg(feature = "export")]
    #[error("the program panicked while it read the archive")]
    Panicked,
}
