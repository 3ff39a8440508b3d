//! Direct access to the database of a system, by `psql`.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use super::{Server, System};
use crate::wait_until;

/// How long it may take until a lock is granted.
const LOCK: Duration = Duration::from_secs(30);

/// Runs `psql` of the running server as the owner of the tables.
pub struct Database {
    psql: PathBuf,
    url: String,
}

impl Database {
    /// Returns the database of a system that runs.
    ///
    /// # Panics
    /// When it does not.
    pub fn of(system: &System) -> Self {
        let server = system.server(Server::Postgres).expect("it runs");
        let program = fs::read_link(format!("/proc/{server}/exe")).expect("a program");
        let url = system.named("DATABASE_URL").expect("a URL");
        Self::new(program.with_file_name("psql"), url)
    }

    pub(super) fn new(psql: PathBuf, url: String) -> Self {
        Self { psql, url }
    }

    /// Runs statements and returns how psql ended.
    ///
    /// # Panics
    /// When there is no `psql`.
    pub fn run(&self, sql: &str) -> Output {
        self.command(sql).output().expect("psql runs")
    }

    fn command(&self, sql: &str) -> Command {
        let mut command = Command::new(&self.psql);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        command.arg(&self.url).args(["--command", sql]);
        command
    }

    /// Returns the answer of statements as text.
    ///
    /// # Panics
    /// When the server refuses one.
    pub fn value(&self, sql: &str) -> String {
        let output = self.run(sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Prevents a service from committing what it reads from a stream until the result is dropped, so that it lags.
    pub async fn pause_consumer(&self, service: &str) -> DatabaseLock<'_> {
        self.lock(&format!(
            "SELECT FROM consumer_positions WHERE consumer = '{service}' OR consumer LIKE '{service}-%' FOR UPDATE"
        ))
        .await
    }

    /// Holds the locks that a statement takes until the result is dropped.
    pub async fn lock(&self, sql: &str) -> DatabaseLock<'_> {
        let holder = self.start(&format!("BEGIN; {sql}; SELECT pg_sleep(600)"));
        let holds = async || (self.value(&format!("SELECT count(*) {HOLDERS}")) == "1").then_some(());
        wait_until("the lock is held", LOCK, holds).await;
        DatabaseLock { database: self, holder }
    }

    /// Begins statements that will wait for something.
    ///
    /// # Panics
    /// When there is no `psql`.
    pub fn start(&self, sql: &str) -> Child {
        let mut command = self.command(sql);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql runs")
    }

    /// Waits until a statement that begins with `statement` waits for a lock.
    pub async fn wait_for_blocked(&self, statement: &str) {
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '{statement}%'"
        );
        wait_until("a statement waits", LOCK, async || (self.value(&waiting) == "1").then_some(())).await;
    }

    /// Returns the error with which the server refuses a statement of a role, or `None` if it accepts it.
    pub fn refusal(&self, role: &str, statement: &str) -> Option<String> {
        // Always rolled back: a statement that should be refused must not affect the next one.
        let output = self.run(&format!("BEGIN; SET LOCAL ROLE {role}; {statement}; ROLLBACK"));
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The name of the session that sleeps while it holds locks.
const HOLDERS: &str = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%pg_sleep(600)'";

/// Locks that are held until this is dropped.
pub struct DatabaseLock<'a> {
    database: &'a Database,
    holder: Child,
}

impl Drop for DatabaseLock<'_> {
    fn drop(&mut self) {
        // The server would sleep on without its client.
        self.database.run(&format!("SELECT pg_terminate_backend(pid) {HOLDERS}"));
        let _ = self.holder.wait();
    }
}
