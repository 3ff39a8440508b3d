//! The database behind the services' backs.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use crate::{System, system::Server};

/// `psql` of the server that runs, as the owner of everything.
pub struct Database {
    psql: PathBuf,
    url: String,
}

impl Database {
    /// That of a system that runs.
    ///
    /// # Panics
    /// When it does not.
    pub fn of(system: &System) -> Self {
        let server = system.server(Server::Postgres).expect("it runs");
        let program = fs::read_link(format!("/proc/{server}/exe")).expect("a program");
        let url = system.named("DATABASE_URL").expect("a URL");
        Self { psql: program.with_file_name("psql"), url }
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When there is no `psql`.
    pub fn run(&self, sql: &str) -> Output {
        let mut command = Command::new(&self.psql);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        command.arg(&self.url).args(["--command", sql]).output().expect("psql runs")
    }

    /// What statements answer, as text.
    ///
    /// # Panics
    /// When the server refuses one.
    pub fn value(&self, sql: &str) -> String {
        let output = self.run(sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// What the server says against a statement of a role, if anything.
    pub fn refusal(&self, role: &str, statement: &str) -> Option<String> {
        // Undone in any case: a statement that should be refused must not do harm to the next.
        let output = self.run(&format!("BEGIN; SET LOCAL ROLE {role}; {statement}; ROLLBACK"));
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
