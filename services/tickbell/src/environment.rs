//! The variables of libpq, which a shell may have for another database.
//!
//! `database.url` says everything about a connection. sqlx fills what a URL leaves out from `PGHOST` and its like, which is
//! what people expect of a URL that leaves it out. `PGOPTIONS` is different: no URL can take it back, and what it sets
//! (`search_path`, `default_transaction_read_only`, a setting that our server does not have) changes what statements mean.

use std::{
    ffi::OsString,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    process::Command,
};

use anyhow::Context;

/// The variable that no URL can take back.
const OPTIONS: &str = "PGOPTIONS";

/// Runs the program anew without `PGOPTIONS` where the shell has it. sqlx reads the variable whenever it reads a URL, and a
/// process cannot safely remove a variable of its own. The process id stays the same.
pub(crate) fn without_libpq_options() -> anyhow::Result<()> {
    if std::env::var_os(OPTIONS).is_none() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "tickbell".into());
    let program = std::env::current_exe().context("find this program, to run it without PGOPTIONS")?;
    let error = Command::new(program).arg0(name).args(arguments).env_remove(OPTIONS).exec();
    Err(error).context("run this program without PGOPTIONS; unset the variable and try again")
}

/// Returns the names of all variables of libpq, which a server of our own must not see.
pub(crate) fn libpq_variables() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_bytes().starts_with(b"PG"))
}
