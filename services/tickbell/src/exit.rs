//! How the program ends: 0 done or asked to stop, 64 bad usage or setting, 69 a needed system is not there, 1 anything
//! else (the numbers are those of BSD's `sysexits.h`).

use std::process::{ExitCode, Termination};

use platform::{ServiceError, settings::SettingsError, telemetry::TelemetryError};
use thiserror::Error;

use crate::print::complain;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// What was asked for is not so: streams differ, a check fails.
    Failed,
    Usage,
    Unavailable,
}

/// A system that the program needs is not there.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Unavailable(pub String);

impl Exit {
    /// Prints what clap has to say: help on standard output, an error on standard error.
    pub(crate) fn from_usage(error: &clap::Error) -> Self {
        if error.print().is_err() {
            return Self::Failed;
        }
        if error.use_stderr() { Self::Usage } else { Self::Done }
    }

    /// Says what went wrong, with its causes, and sorts it.
    pub(crate) fn failed(error: &anyhow::Error) -> Self {
        complain(&format!("tickbell: {}", error_chain(error)));
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

/// A fault while reaching the broker or the database means that it is not there.
pub(crate) fn unavailable(fault: ServiceError) -> anyhow::Error {
    Unavailable(platform::runtime::error::error_chain(&fault)).into()
}
