//! The servers' programs: on the PATH, where the distribution keeps them, or where `make tools` has put them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::exit::Unavailable;

/// Resetting a consumer came with 2.14.
const NATS: [u32; 2] = [2, 14];
const POSTGRESQL: u32 = 15;

/// A nats-server that is new enough.
pub(crate) fn nats_server() -> anyhow::Result<PathBuf> {
    let found = on_path("nats-server").into_iter().chain(tools("nats-server"));
    let mut too_old = Vec::new();
    for program in found {
        match version(&program) {
            Some(version) if version.as_slice() >= NATS.as_slice() => return Ok(program),
            version => too_old.push(format!("{} is {}", program.display(), shown(version))),
        }
    }
    Err(Unavailable(format!(
        "no nats-server 2.14 or newer{}: run `make tools`, put one on the PATH, or name a running one with --nats-url",
        because(&too_old)
    ))
    .into())
}

/// The folder with `initdb` and `postgres`, new enough.
pub(crate) fn postgresql() -> anyhow::Result<PathBuf> {
    let on_path = on_path("postgres").into_iter().filter_map(|program| program.canonicalize().ok());
    let mut found: Vec<PathBuf> = on_path.chain(distribution()).filter(|program| beside(program, "initdb")).collect();
    found.dedup();
    let mut too_old = Vec::new();
    for program in found {
        match version(&program) {
            Some(version) if version.first() >= Some(&POSTGRESQL) => {
                return Ok(program.parent().map(Path::to_path_buf).unwrap_or_default());
            }
            version => too_old.push(format!("{} is {}", program.display(), shown(version))),
        }
    }
    Err(Unavailable(format!(
        "no PostgreSQL 15 or newer{}: install your distribution's postgresql package, or name a running one with \
         --database-url",
        because(&too_old)
    ))
    .into())
}

fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|program| program.is_file()).collect()
}

/// `.tools/bin` of this folder, and of every folder above the program: a build in `target/release` finds its clone's.
fn tools(name: &str) -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    let folders = std::iter::once(here.as_path()).chain(program.ancestors());
    folders.map(|folder| folder.join(".tools/bin").join(name)).filter(|program| program.is_file()).collect()
}

/// Debian's and Ubuntu's place, newest first; the servers are not on the PATH there.
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

/// The numbers in `nats-server: v2.15.1` or `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version(program: &Path) -> Option<Vec<u32>> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = text.split([' ', '\n', 'v']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let numbers: Vec<u32> = word.split('.').map_while(|part| part.parse().ok()).collect();
    (!numbers.is_empty()).then_some(numbers)
}

fn shown(version: Option<Vec<u32>>) -> String {
    let numbers = version.unwrap_or_default();
    if numbers.is_empty() {
        return "of an unknown version".into();
    }
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn because(too_old: &[String]) -> String {
    if too_old.is_empty() { String::new() } else { format!(" ({})", too_old.join(", ")) }
}
