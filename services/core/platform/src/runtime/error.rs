//! The errors of a running service, sorted by what happens next.

use std::error::Error;

use thiserror::Error;

type Source = Box<dyn Error + Send + Sync>;

/// The reason why a run of a service ended early.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The error may go away by itself: the supervisor starts a new run from the committed position, after a backoff.
    #[error("{0}")]
    Transient(String, #[source] Source),
    /// The error will not go away by itself: the service stops, and an operator has to act.
    #[error("{0}")]
    Permanent(String, #[source] Source),
}

impl ServiceError {
    /// Makes an error that may go away; `what` names the action that failed.
    pub fn transient(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Transient(what.into(), source.into())
    }

    /// Makes an error that will not go away; `what` names the action that failed.
    pub fn permanent(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Permanent(what.into(), source.into())
    }
}

/// Joins an error and its causes in one line, for a log.
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
