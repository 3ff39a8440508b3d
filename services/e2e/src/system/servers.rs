//! Services as processes of their own, on a broker and a database that run without `up`.

use std::{
    fs,
    net::SocketAddr,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use nix::sys::signal::Signal;
use platform::Broker;
use reqwest::Method;
use serde_json::Value;

use super::{Server, Status, System, database::Database, try_broker};
use crate::{
    Api, Process,
    process::{Frozen, command, free_address, send},
    wait_until,
};

const START: Duration = Duration::from_secs(30);
/// How long it may take until all that was published is processed and every mail sent.
const WORK: Duration = Duration::from_secs(60);

const MONITOR_URL: &str = "TICKBELL_NATS__MONITOR_URL";

/// Both servers, and the settings by which services reach them.
pub struct Servers {
    nats: Running,
    postgres: Running,
    settings: Vec<(String, String)>,
}

/// A server's process, and how another one is started in its place.
struct Running {
    name: &'static str,
    recipe: Recipe,
    process: Process,
}

/// The addresses of a service that is started again at the same ones.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    admin: SocketAddr,
    api: SocketAddr,
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
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) user: (u32, u32),
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
        let mut command = self.command(&self.program);
        system.spawn(name, command.args(&self.arguments))
    }

    /// Returns where the value of an argument stands.
    pub(super) fn value_of(&self, name: &str) -> usize {
        1 + self.arguments.iter().position(|argument| argument == name).expect("the server was given it")
    }

    /// Returns a program of the server, to run as its user.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        // Only root may change the user; any other user is the one that `up` ran as.
        if nix::unistd::Uid::effective().is_root() {
            command.uid(self.user.0).gid(self.user.1);
        }
        command
    }
}

impl Running {
    fn start(system: &System, name: &'static str, recipe: Recipe) -> Self {
        Self { name, process: recipe.start(system, name), recipe }
    }
}

impl Addresses {
    /// Returns addresses that are free.
    pub fn free() -> Self {
        Self { admin: free_address(), api: free_address() }
    }

    /// Returns the admin endpoints and the API at these addresses.
    pub fn apis(self) -> [Api; 2] {
        [self.admin, self.api].map(|address| Api::new(&format!("http://{address}")))
    }
}

impl Servers {
    /// Takes the servers over from `up`, which has created the database and the streams. Services get `settings` besides
    /// the settings that all of them need.
    pub async fn take_over(system: &mut System, settings: &[(&str, &str)]) -> Self {
        let [nats, postgres] = [Server::Nats, Server::Postgres].map(|server| Recipe::of(system, server));
        let mut all: Vec<(String, String)> =
            ["NATS_URL", "DATABASE_URL"].map(|name| (name.to_owned(), system.named(name).expect("a URL"))).into();
        let needed = [
            ("TICKBELL_LINKS__SECRET", "0123456789abcdef"),
            ("TICKBELL_GATEWAY__CONFIRMATION", "off"),
            ("TICKBELL_TRADE_SETTLER__PRICE_AGE", "event"),
        ];
        // Of the monitoring page: without it `doctor` cannot see whether the broker flushes.
        let monitor = fs::read_to_string(system.data().join("nats/nats.conf")).expect("the broker's settings");
        let monitor = monitor.lines().find_map(|line| line.strip_prefix("http: ")).expect("a monitoring page");
        all.push((MONITOR_URL.to_owned(), format!("http://{}", monitor.trim_matches('"'))));
        all.extend(needed.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        system.stop().await;
        let (nats, postgres) = (Running::start(system, "nats", nats), Running::start(system, "postgres", postgres));
        Self { nats, postgres, settings: all }
    }

    /// Points services that start from now on, and commands, at another broker and its monitoring page.
    pub(super) fn use_broker(&mut self, url: String, monitor: SocketAddr) {
        self.settings[0].1 = url;
        self.settings.push((MONITOR_URL.to_owned(), format!("http://{monitor}")));
    }

    /// How a server was started, and its process.
    pub(super) fn started(&mut self, server: Server) -> (Recipe, &mut Process) {
        let running = self.running(server);
        (running.recipe.clone(), &mut running.process)
    }

    /// The URL of the database; with several hosts where there are several.
    pub(super) fn database_url(&mut self) -> &mut String {
        &mut self.settings[1].1
    }

    fn running(&mut self, server: Server) -> &mut Running {
        match server {
            Server::Nats => &mut self.nats,
            Server::Postgres => &mut self.postgres,
        }
    }

    /// The address of the broker.
    pub fn nats_url(&self) -> &str {
        &self.settings[0].1
    }

    /// Stops a server as a hanging machine would, until the result is dropped: connections stay open and nobody answers.
    pub fn freeze(&self, server: Server) -> Frozen {
        let frozen = match server {
            Server::Nats => &self.nats,
            Server::Postgres => &self.postgres,
        };
        Frozen::freeze(frozen.process.id())
    }

    /// Ends a server and its children as a power cut would.
    pub fn kill(&mut self, server: Server) {
        let process = &mut self.running(server).process;
        // All of them at once: a child of PostgreSQL that lives on would keep its successor from starting.
        let frozen = Frozen::freeze(process.id());
        frozen.ids().iter().for_each(|id| send(*id, Signal::SIGKILL));
        process.end();
    }

    /// Starts a server again that was killed.
    pub fn start_again(&mut self, system: &System, server: Server) {
        let running = self.running(server);
        running.process = running.recipe.start(system, running.name);
    }

    /// Returns the database, for queries as its owner.
    pub fn database(&self) -> Database {
        // Of several servers, the one that takes writes.
        let url = &self.settings[1].1;
        let url = format!("{url}{}target_session_attrs=read-write", if url.contains('?') { '&' } else { '?' });
        Database::new(self.postgres.recipe.program.with_file_name("psql"), url)
    }

    /// Returns the setting of a server's URL with another address in it, like that of a proxy.
    pub fn url_at(&self, server: Server, address: SocketAddr) -> (&'static str, String) {
        let (name, url) = match server {
            Server::Nats => ("NATS_URL", &self.settings[0].1),
            Server::Postgres => ("DATABASE_URL", &self.settings[1].1),
        };
        (name, url.replace(&self.address(server).to_string(), &address.to_string()))
    }

    /// Returns the address of a server.
    ///
    /// # Panics
    /// When its URL has none.
    pub fn address(&self, server: Server) -> SocketAddr {
        let url = match server {
            Server::Nats => &self.settings[0].1,
            Server::Postgres => &self.settings[1].1,
        };
        let (_, rest) = url.split_once("://").expect("a scheme");
        let authority = rest.split('/').next().unwrap_or(rest);
        let address = authority.rsplit('@').next().unwrap_or(authority);
        address.parse().expect("an address and a port")
    }

    /// Points services that start from now on at another database of the server, and returns the URL of the one before.
    ///
    /// # Panics
    /// When the URL names no database.
    pub fn use_database(&mut self, name: &str) -> String {
        let url = self.database_url();
        let (server, database) = url.rsplit_once('/').expect("a database");
        let options = database.split_once('?').map(|(_, options)| format!("?{options}")).unwrap_or_default();
        let other = format!("{server}/{name}{options}");
        std::mem::replace(url, other)
    }

    /// Starts one service with its own log and its own addresses. `arguments` begin with its name.
    pub fn start(&self, system: &System, name: &str, arguments: &[&str]) -> Service {
        self.start_at(system, name, arguments, Addresses::free(), &[])
    }

    /// Does the same at given addresses, and with settings that only this service has.
    pub fn start_at(
        &self,
        system: &System,
        name: &str,
        arguments: &[&str],
        addresses: Addresses,
        settings: &[(&str, String)],
    ) -> Service {
        let mut command = self.command(system, arguments);
        if arguments[0] == "gateway" {
            command.args(["--http", &addresses.api.to_string()]);
        }
        command.env("TICKBELL_ADMIN__LISTEN", addresses.admin.to_string());
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        let [admin, api] = addresses.apis();
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

    /// Runs a command line of an operator in a shell whose `tickbell` is the program under test.
    ///
    /// # Panics
    /// When there is no shell.
    pub async fn run_line(&self, system: &System, line: &str) -> Output {
        let program = system.tickbell();
        let folders = [Path::new(program.get_program()), &self.postgres.recipe.program].map(Path::parent);
        let known = std::env::var_os("PATH").unwrap_or_default();
        let folders = folders.into_iter().flatten().map(Path::to_owned).chain(std::env::split_paths(&known));
        let mut shell = command(Path::new("bash"), system.home());
        shell.args(["-euo", "pipefail", "-c", line]).envs(self.settings.iter().map(|(name, value)| (name, value)));
        shell.env("PATH", std::env::join_paths(folders).expect("folders without a colon"));
        tokio::process::Command::from(shell).kill_on_drop(true).output().await.expect("the shell runs")
    }

    /// Returns a connection to the broker, while it is there.
    pub async fn try_broker(&self) -> Option<Broker> {
        try_broker(self.nats_url()).await
    }

    /// Runs a command of an operator to its end.
    ///
    /// # Panics
    /// When the program does not run.
    pub async fn run(&self, system: &System, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.command(system, arguments));
        command.kill_on_drop(true).output().await.expect("the program runs")
    }

    /// Returns the progress of all consumers and deliveries. Without `up` there is no env file with the addresses.
    pub async fn status(&self, system: &System) -> Option<Status> {
        let output = self.run(system, &["status", "--json"]).await;
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

    /// Whether it reports that it is ready.
    pub async fn is_ready(&self) -> bool {
        self.checks().await.is_some_and(|(status, _)| status == 200)
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

    /// Asks it to stop by SIGTERM, and returns it to be waited for.
    pub fn ask_to_stop(self) -> Process {
        send(self.process.id(), Signal::SIGTERM);
        self.process
    }

    /// Stops its process as a hanging machine would, until the result is dropped.
    pub fn freeze(&self) -> Frozen {
        Frozen::freeze(self.process.id())
    }

    /// How its process has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }
}

fn has_standby(checks: &Value) -> bool {
    checks.as_object().is_some_and(|checks| checks.values().any(|check| check["state"] == "standby"))
}
