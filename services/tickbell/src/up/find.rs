//! Finds the programs of the servers: on the PATH, where the distribution installs them, or where `make tools` puts them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::exit::Unavailable;

/// The oldest nats-server that can reset a consumer.
const MIN_NATS: [u32; 2] = [2, 14];
/// The oldest supported major version of PostgreSQL.
const MIN_POSTGRESQL: u32 = 15;

/// Returns the path of a nats-server that is new enough.
pub(crate) fn nats_server() -> anyhow::Result<PathBuf> {
    let found = on_path("nats-server").into_iter().chain(tools("nats-server"));
    let mut too_old = Vec::new();
    for program in found {
        match version(&program) {
            Some(version) if version.as_slice() >= MIN_NATS.as_slice() => return Ok(program),
            version => too_old.push(format!("{} is {}", program.display(), display(version))),
        }
    }
    Err(Unavailable(format!(
        "nats-server 2.14 or newer was not found{}: run `make tools`, put one on the PATH, or use a running one with \
         --nats-url",
        rejected(&too_old)
    ))
    .into())
}

/// Returns the folder with an `initdb` and a `postgres` that are new enough.
pub(crate) fn postgresql() -> anyhow::Result<PathBuf> {
    let on_path = on_path("postgres").into_iter().filter_map(|program| program.canonicalize().ok());
    let mut found: Vec<PathBuf> = on_path.chain(distribution()).filter(|program| beside(program, "initdb")).collect();
    found.dedup();
    let mut too_old = Vec::new();
    for program in found {
        match version(&program) {
            Some(version) if version.first() >= Some(&MIN_POSTGRESQL) => {
                return Ok(program.parent().map(Path::to_path_buf).unwrap_or_default());
            }
            version => too_old.push(format!("{} is {}", program.display(), display(version))),
        }
    }
    Err(Unavailable(format!(
        "PostgreSQL 15 or newer was not found{}: install the package postgresql of your distribution, or use a running \
         one with --database-url",
        rejected(&too_old)
    ))
    .into())
}

fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|program| program.is_file()).collect()
}

/// Searches `.tools/bin` of the current folder and of every folder above the program, so that a program in
/// `target/release` finds the tools of its clone.
fn tools(name: &str) -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    let folders = std::iter::once(here.as_path()).chain(program.ancestors());
    folders.map(|folder| folder.join(".tools/bin").join(name)).filter(|program| program.is_file()).collect()
}

/// Searches where Debian and Ubuntu install PostgreSQL outside the PATH, newest version first.
fn distribution() -> Vec<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = folders.map(|folder| folder.path().join("bin/postgres")).collect();
    programs.retain(|program| program.is_file());
    programs.sort();
    programs.reverse();
    programs
}

fn beside(program: &Path, name: &str) -> bool {
    program.with_file_name(name).is_file()
}

/// Returns the numbers in `nats-server: v2.15.1` or `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version(program: &Path) -> Option<Vec<u32>> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = text.split([' ', '\n', 'v']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let numbers: Vec<u32> = word.split('.').map_while(|part| part.parse().ok()).collect();
    (!numbers.is_empty()).then_some(numbers)
}

fn display(version: Option<Vec<u32>>) -> String {
    let numbers = version.unwrap_or_default();
    if numbers.is_empty() {
        return "of an unknown version".into();
    }
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Returns the programs that are too old, in parentheses.
fn rejected(too_old: &[String]) -> String {
    if too_old.is_empty() { String::new() } else { format!(" ({})", too_old.join(", ")) }
}
