//! Errors, sorted by what happens next.

use std::error::Error;

use thiserror::Error;

type Source = Box<dyn Error + Send + Sync>;

/// Why a service's session ended early.
#[derive(Debug, Error)]
pub enum Fault {
    /// It may go away by itself: the session is begun anew from the committed position, after a growing wait.
    #[error("{0}")]
    Passing(String, #[source] Source),
    /// It will not: the service stops and somebody has to look.
    #[error("{0}")]
    Fatal(String, #[source] Source),
}

impl Fault {
    /// A fault that may go away; `what` says what was being done.
    pub fn passing(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Passing(what.into(), source.into())
    }

    /// A fault that will not go away; `what` says what was being done.
    pub fn fatal(what: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Fatal(what.into(), source.into())
    }
}

/// An error and its causes in one line, for a log.
pub fn chain(error: &dyn Error) -> String {
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
