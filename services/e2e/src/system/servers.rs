//! Services as processes of their own, on a broker and a database that run without `up`.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;

use super::{Server, Status, System};
use crate::{
    Api, Process,
    process::{Frozen, free_address},
    wait_until,
};

const START: Duration = Duration::from_secs(30);
/// How long it may take until all that was published is processed and every mail sent.
const WORK: Duration = Duration::from_secs(60);

/// Both servers, and the settings by which services reach them.
pub struct Servers {
    running: [Process; 2],
    settings: Vec<(String, String)>,
}

/// One service in a process of its own, and its addresses.
pub struct Service {
    process: Process,
    /// Readiness and metrics, which every service has.
    pub admin: Api,
    /// The API, which only a gateway has.
    pub api: Api,
}

/// How a server of `up` was started, to start it without `up`.
struct Recipe {
    program: PathBuf,
    arguments: Vec<String>,
    user: (u32, u32),
}

impl Recipe {
    fn of(system: &System, server: Server) -> Self {
        let process = PathBuf::from(format!("/proc/{}", system.server(server).expect("it runs")));
        let line = fs::read_to_string(process.join("cmdline")).expect("a command line");
        let owner = fs::metadata(&process).expect("a process");
        Self {
            program: fs::read_link(process.join("exe")).expect("a program"),
            arguments: line.trim_end_matches('\0').split('\0').skip(1).map(str::to_owned).collect(),
            user: (owner.uid(), owner.gid()),
        }
    }

    fn start(&self, system: &System, name: &str) -> Process {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir("/");
        // Only root may change the user; any other user is the one that `up` ran as.
        if nix::unistd::Uid::effective().is_root() {
            command.uid(self.user.0).gid(self.user.1);
        }
        system.spawn(name, &mut command)
    }
}

impl Servers {
    /// Takes the servers over from `up`, which has created the database and the streams. Services get `settings` besides
    /// the settings that all of them need.
    pub async fn take_over(system: &mut System, settings: &[(&str, &str)]) -> Self {
        let recipes = [Server::Nats, Server::Postgres].map(|server| Recipe::of(system, server));
        let mut all: Vec<(String, String)> =
            ["NATS_URL", "DATABASE_URL"].map(|name| (name.to_owned(), system.named(name).expect("a URL"))).into();
        let needed = [
            ("TICKBELL_LINKS__SECRET", "0123456789abcdef"),
            ("TICKBELL_GATEWAY__CONFIRMATION", "off"),
            ("TICKBELL_TRADE_SETTLER__PRICE_AGE", "event"),
        ];
        all.extend(needed.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        system.stop().await;
        let running =
            [("nats", &recipes[0]), ("postgres", &recipes[1])].map(|(name, recipe)| recipe.start(system, name));
        Self { running, settings: all }
    }

    /// The address of the broker.
    pub fn nats_url(&self) -> &str {
        &self.settings[0].1
    }

    /// Stops a server as a hanging machine would, until the result is dropped: connections stay open and nobody answers.
    pub fn freeze(&self, server: Server) -> Frozen {
        let [nats, postgres] = &self.running;
        let frozen = match server {
            Server::Nats => nats,
            Server::Postgres => postgres,
        };
        Frozen::freeze(frozen.id())
    }

    /// Starts one service with its own log and its own addresses. `arguments` begin with its name.
    pub fn start(&self, system: &System, name: &str, arguments: &[&str]) -> Service {
        let [admin, api] = [free_address(), free_address()];
        let mut command = self.command(system, arguments);
        if arguments[0] == "gateway" {
            command.args(["--http", &api.to_string()]);
        }
        command.env("TICKBELL_ADMIN__LISTEN", admin.to_string());
        let [admin, api] = [admin, api].map(|address| Api::new(&format!("http://{address}")));
        Service { process: system.spawn(name, &mut command), admin, api }
    }

    /// Starts a program that ends by itself, like an ingestor of a file.
    pub fn spawn(&self, system: &System, name: &str, arguments: &[&str]) -> Process {
        system.spawn(name, &mut self.command(system, arguments))
    }

    fn command(&self, system: &System, arguments: &[&str]) -> Command {
        let mut command = system.tickbell();
        command.args(arguments).envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Returns the progress of all consumers and deliveries. Without `up` there is no env file with the addresses.
    pub async fn status(&self, system: &System) -> Option<Status> {
        let mut command = tokio::process::Command::from(system.tickbell());
        command.args(["status", "--json"]).envs(self.settings.iter().map(|(name, value)| (name, value)));
        let output = command.kill_on_drop(true).output().await.ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until everything that was published is processed, and every mail sent.
    pub async fn wait_until_processed(&self, system: &System) {
        let done = async || self.status(system).await.filter(Status::is_done);
        wait_until("all is processed", WORK, done).await;
    }
}

impl Service {
    /// Waits until it reports that it is ready.
    pub async fn wait_until_ready(&self) {
        let ready = async || self.checks().await.filter(|(status, _)| *status == 200);
        wait_until("the service is ready", START, ready).await;
    }

    /// Whether it is ready and leads: no check of it is on standby.
    pub async fn leads(&self) -> bool {
        self.checks().await.is_some_and(|(status, checks)| status == 200 && !has_standby(&checks))
    }

    /// Whether it is on standby beside another instance that leads.
    pub async fn stands_by(&self) -> bool {
        self.checks().await.is_some_and(|(_, checks)| has_standby(&checks))
    }

    /// The status and the checks of `/readyz`, while it answers.
    async fn checks(&self) -> Option<(u16, Value)> {
        let answer = Api::try_send(self.admin.request(Method::GET, "/readyz")).await?;
        let body: Value = serde_json::from_str(&answer.text).ok()?;
        Some((answer.status, body["checks"].clone()))
    }

    /// Asks it to stop by SIGTERM, which must end it in order.
    pub async fn stop(self) {
        self.process.stop(Signal::SIGTERM).await;
    }

    /// Ends it as a power cut would.
    pub fn kill(self) {
        self.process.kill();
    }
}

fn has_standby(checks: &Value) -> bool {
    checks.as_object().is_some_and(|checks| checks.values().any(|check| check["state"] == "standby"))
}
