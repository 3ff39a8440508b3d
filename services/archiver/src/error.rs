//! The errors of the archive, sorted by what happens next.

use object_archive::target::TargetError;
use platform::ServiceError;
use thiserror::Error;
use tick_history::HistoryError;

/// Why history was not archived, or is not as it should be.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// The ticks of a range could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The folder or the store failed.
    #[error("the archive")]
    Target(#[from] TargetError),
    /// A part cannot be made or read.
    #[cfg(feature = "export")]
    #[error("a part of the archive")]
    Part(#[from] object_archive::parquet_part::PartError),
    /// A number has more digits than a column of the archive.
    #[error("{0}: a number has more than 20 digits before or 18 behind the point")]
    TooManyDigits(String),
    /// A manifest cannot be read.
    #[error("{0}: the manifest cannot be read: {1}; it was changed by hand, or a newer version has written it")]
    Manifest(String, String),
    /// A part is not the one that its manifest states.
    #[error(
        "{0} is not the file that the manifest states: its SHA-256 differs; remove the files of that day with their manifest, and export the day again"
    )]
    Damaged(String),
    /// There are other files where these should be.
    #[error(
        "{0} holds other rows already; export to an empty folder, or use --format parquet, which adds what is missing"
    )]
    Occupied(String),
    /// Another process has written the same day again and again.
    #[error("{0}: another process writes the same day; let one archiver or export run at a time")]
    Contended(String),
    /// Where the answer goes was closed, or failed.
    #[error("cannot write")]
    Output(#[source] std::io::Error),
    /// A task of the program has panicked.
    #[error("the program panicked while it made a part")]
    Panicked(#[source] tokio::task::JoinError),
}

impl From<ArchiveError> for ServiceError {
    /// What the store refuses is tried again too: credentials are renewed and buckets emptied while the service runs.
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Database(error) | ArchiveError::History(HistoryError::Database(error)) => error.into(),
            ArchiveError::History(HistoryError::Archive(_)) => ServiceError::transient("archive", error),
            ArchiveError::Target(TargetError::Url(_)) => ServiceError::permanent("archive.url", error),
            ArchiveError::Target(_) | ArchiveError::Contended(_) | ArchiveError::Output(_) => {
                ServiceError::transient("archive", error)
            }
            _ => ServiceError::permanent("archive", error),
        }
    }
}
