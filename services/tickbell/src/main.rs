//! `tickbell`: one binary with a subcommand per service, `up` for all of them, and the operator's commands.

mod cli;
mod commands;
mod environment;
mod exit;
mod history_wait;
mod options;
mod print;
mod process;
mod service_command;
mod services;
mod settings;
mod signals;
mod up;
mod version;

use std::time::Duration;

use clap::Parser;

use crate::{cli::Cli, exit::Exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The time that blocking tasks have to end.
const LAST_TASKS: Duration = Duration::from_millis(500);

fn main() -> Exit {
    run().after_output()
}

fn run() -> Exit {
    if let Err(error) = environment::without_libpq_options() {
        return Exit::from_error(&error);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Exit::from_usage(&error),
    };
    // rustls panics when two providers are compiled in and none is chosen; every TLS client of the process uses this one.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Exit::Failed;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::from_error(&anyhow::Error::new(error).context("start the runtime")),
    };
    let exit = runtime.block_on(cli::run(cli)).unwrap_or_else(|error| Exit::from_error(&error));
    // A blocking task, like the look-up of a name, may have no end.
    runtime.shutdown_timeout(LAST_TASKS);
    exit
}
