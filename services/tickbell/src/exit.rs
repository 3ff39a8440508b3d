//! The exit status: 0 done or asked to stop, 64 wrong usage or setting, 69 a required system is unavailable, 1 anything
//! else. The numbers are those of BSD's `sysexits.h`.

use std::process::{ExitCode, Termination};

use platform::{ServiceError, settings::SettingsError, telemetry::TelemetryError};
use thiserror::Error;

use crate::print::{self, eprint};

/// The exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The answer is no: streams differ, a check fails, an order is rejected. Also any error without its own status.
    Failed,
    /// The command line or a setting is wrong.
    Usage,
    /// A system that the program needs cannot be reached.
    Unavailable,
}

/// A system that the program needs cannot be reached.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Unavailable(pub String);

impl Exit {
    /// Prints clap's message: help on standard output, an error on standard error.
    pub(crate) fn from_usage(error: &clap::Error) -> Self {
        let printed = error.print();
        if error.use_stderr() {
            return Self::Usage;
        }
        print::record(printed);
        Self::Done
    }

    /// Replaces success by failure when the answer could not be written: a script must not take an empty or a cut file for
    /// the answer.
    pub(crate) fn after_output(self) -> Self {
        match print::finish() {
            Ok(()) => self,
            Err(error) => {
                eprint(&format!("tickbell: cannot write the answer to standard output: {error}"));
                if self == Self::Done { Self::Failed } else { self }
            }
        }
    }

    /// Prints an error with its causes, and returns the status for its kind.
    pub(crate) fn from_error(error: &anyhow::Error) -> Self {
        eprint(&format!("tickbell: {}", error_chain(error)));
        if error.is::<SettingsError>() || error.is::<TelemetryError>() {
            Self::Usage
        } else if error.is::<Unavailable>() {
            Self::Unavailable
        } else {
            Self::Failed
        }
    }
}

fn error_chain(error: &anyhow::Error) -> String {
    platform::runtime::error::error_chain(error.as_ref())
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
        })
    }
}

/// Turns an error of the first connection to the broker or the database into [`Unavailable`].
pub(crate) fn unavailable(error: ServiceError) -> anyhow::Error {
    Unavailable(platform::runtime::error::error_chain(&error)).into()
}
