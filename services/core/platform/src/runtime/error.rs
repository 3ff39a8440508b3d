//! Errors, sorted by what happens next.

use std::error::Error;

use thiserror::Error;

type Source = Box<dyn Error + Send + Sync>;

/// Why a service's session ended early.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// It may go away by itself: the session is begun anew from the committed position, after a growing wait.
    #[error("{0}")]
    Transient(String, #[source] Source),
    /// It will not: the service stops and somebody has to look.
    #[error("{0}")]
    Permanent(String, #[source] Source),
}

impl ServiceError {
    /// A fault that may go away; `what` says what was being done.
    pub fn transient(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Transient(what.into(), source.into())
    }

    /// A fault that will not go away; `what` says what was being done.
    pub fn permanent(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Permanent(what.into(), source.into())
    }
}

/// An error and its causes in one line, for a log.
pub fn error_chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}
