//! The running `tickbell up` that is measured.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub(crate) mod process_memory;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// A running `tickbell up` in a temporary folder; it is stopped when this is dropped.
pub(crate) struct System {
    program: PathBuf,
    folder: tempfile::TempDir,
    up: Child,
    pub(crate) env: HashMap<String, String>,
}

impl System {
    /// Starts it with these settings beside its own.
    pub(crate) fn start(program: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_on(program, None, settings)
    }

    /// Starts it on one core, where one is given, with further settings as environment variables.
    pub(crate) fn start_on(program: &Path, core: Option<usize>, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        ensure!(program.is_file(), "{} is not built: cargo build --release -p tickbell", program.display());
        let folder = tempfile::tempdir()?;
        // For root, PostgreSQL runs as another user, who must be able to enter the folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let data = folder.path().join("data");
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let up = command
            .args(["up", "--source", "none", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            // The ticks are of a recorded day.
            .env("TICKBELL_TRADE_SETTLER__PRICE_AGE", "event")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log"))?)
            .spawn()?;
        let mut system = Self { program: program.to_owned(), folder, up, env: HashMap::new() };
        let deadline = Instant::now() + Duration::from_secs(60);
        while system.env.is_empty() {
            if let Ok(text) = fs::read_to_string(data.join("env")) {
                let pairs = text.lines().filter_map(|line| line.split_once('='));
                system.env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            }
            if Instant::now() > deadline || system.up.try_wait()?.is_some() {
                bail!("did not start: {}", fs::read_to_string(system.folder.path().join("log"))?);
            }
            std::thread::yield_now();
        }
        Ok(system)
    }

    /// Returns the number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.up.id()
    }

    /// Returns the folder, which is removed at the end.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn nats(&self) -> &str {
        &self.env["NATS_URL"]
    }

    pub(crate) fn tickbell(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).envs(&self.env);
        command
    }

    /// Returns what a statement answers, a row per line, with a bar between columns.
    pub(crate) fn sql(&self, statement: &str) -> anyhow::Result<String> {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1", "--command", statement]);
        let output = psql.arg(&self.env["DATABASE_URL"]).output();
        let output = output.context("psql is needed: install postgresql-client")?;
        ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Returns the number of lines that one crate has logged.
    pub(crate) fn log_lines(&self, target: &str) -> anyhow::Result<usize> {
        let log = fs::read_to_string(self.folder.path().join("log"))?;
        Ok(log.lines().filter(|line| line.contains(target)).count())
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let answer = reqwest::get(format!("{}/readyz", self.env["HTTP_URL"])).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    pub(crate) fn caught_up(&self) -> bool {
        let Ok(output) = self.tickbell(&["status", "--json"]).output() else { return false };
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let consumers = status["consumers"].as_array();
        consumers.is_some_and(|consumers| consumers.iter().all(|consumer| consumer["lag"] == 0))
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        limit: Duration,
        condition: impl AsyncFn() -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while !condition().await {
            ensure!(Instant::now() < deadline, "not {what} within {} s", limit.as_secs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let stopped = Command::new("kill").arg(self.up.id().to_string()).status();
        if let Err(error) = stopped.and_then(|_| self.up.wait()) {
            println!("tickbell up was not stopped: {error}");
        }
    }
}
