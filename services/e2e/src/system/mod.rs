//! A whole system, as `tickbell up` starts it.

mod broker_cluster;
pub(crate) mod database;
mod folder;
mod gateways;
pub(crate) mod servers;
mod standby;
pub mod status;
mod streams;
mod template;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread::available_parallelism,
    time::Duration,
};

use events::OutboundMessage;
use nix::sys::signal::Signal;
use platform::{Broker, Health, Shutdown, broker};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use self::folder::Folder;
pub use self::{broker_cluster::BrokerCluster, standby::Standby, streams::StreamFiles};
use crate::{
    Api, Mail, Process, Status, mail,
    process::{command, send, tickbell},
    wait_until,
};

/// How long a start may take, with a new database cluster.
const START: Duration = Duration::from_secs(60);
/// How long it may take until all that was published is processed and every mail sent.
const WORK: Duration = Duration::from_secs(180);
/// The number of systems that run at once beyond the number of cores, because they mostly wait.
const MORE_THAN_CORES: usize = 2;

/// `tickbell up` in a folder of its own, without an ingestor. Everything ends when it is dropped.
pub struct System {
    up: Option<Process>,
    /// The gateway, on a port that stays the same.
    pub api: Api,
    settings: Vec<(String, String)>,
    folder: Folder,
    /// The last to be dropped: the next system starts when this one is gone.
    _slot: Option<SemaphorePermit<'static>>,
}

/// The program of the next release, when these tests are those of the release before: see infra/local/previous.
const NEXT_RELEASE: &str = "TICKBELL_NEXT_RELEASE";

/// One of the two servers that `up` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The nats-server process.
    Nats,
    /// The first process of PostgreSQL.
    Postgres,
}

impl System {
    /// Starts a system whose database is a copy of a migrated one, and waits until it is ready.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Does the same, with settings like `TICKBELL_GATEWAY__CONFIRMATION`.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let mut system = Self::acquire(settings).await;
        match std::env::var_os(NEXT_RELEASE) {
            Some(next) => system.run_release(Path::new(&next)).await,
            None => template::copy_to(&system.data()).await,
        }
        system.up().await;
        system
    }

    /// Starts a system from an empty folder, as its first user does; the database writes through to the disk.
    pub async fn from_nothing() -> Self {
        let mut system = Self::acquire(&[]).await;
        if let Some(next) = std::env::var_os(NEXT_RELEASE) {
            system.run_release(Path::new(&next)).await;
        }
        system.up().await;
        system
    }

    /// Waits until this machine has room for one more system.
    async fn acquire(settings: &[(&str, &str)]) -> Self {
        static SLOTS: OnceCell<Semaphore> = OnceCell::const_new();
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        let slots = SLOTS.get_or_init(async || Semaphore::new(cores + MORE_THAN_CORES)).await;
        let slot = slots.acquire().await.expect("the semaphore is never closed");
        Self::new(settings, Some(slot))
    }

    fn new(settings: &[(&str, &str)], slot: Option<SemaphorePermit<'static>>) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { up: None, api: Api::new(""), settings, folder: Folder::new(), _slot: slot }
    }

    /// Lets another release create or migrate the data first, so that this one works with its schema.
    async fn run_release(&mut self, other: &Path) {
        let mut command = command(other, self.home());
        command.arg("--data-dir").arg(self.data()).args(["up", "--source", "none", "--http", "127.0.0.1:0"]);
        self.up = Some(Process::start(&mut command, &self.folder.log()));
        self.ready().await;
        self.stop().await;
        self.api = Api::new("");
    }

    /// Adds settings, which the next start takes; the last one of a name counts.
    pub fn configure(&mut self, settings: impl IntoIterator<Item = (&'static str, String)>) {
        self.settings.extend(settings.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }

    /// Starts it again after [`System::stop`] or [`System::kill`].
    pub async fn up(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Starts it again without waiting for it.
    pub fn launch(&mut self) {
        let address = self.api.base().strip_prefix("http://").unwrap_or("127.0.0.1:0").to_owned();
        let mut command = self.tickbell();
        command.args(["up", "--source", "none", "--http", &address]);
        // The ticks of most tests are of one recorded day.
        command.env("TICKBELL_TRADE_SETTLER__PRICE_AGE", "event");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        self.up = Some(Process::start(&mut command, &self.folder.log()));
    }

    /// Waits until it can serve.
    pub async fn ready(&mut self) {
        wait_until("it is ready", START, async || {
            let ended = self.up.as_mut().and_then(Process::ended);
            assert!(ended.is_none(), "`tickbell up` ended with {ended:?}");
            self.api = Api::new(&self.named("HTTP_URL")?);
            let answer = Api::try_send(self.api.request(reqwest::Method::GET, "/readyz")).await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Asks it to stop, which must end it with status 0 within ten seconds.
    pub async fn stop(&mut self) {
        self.up.take().expect("it runs").stop(Signal::SIGTERM).await;
    }

    /// The process, to be stopped in another way.
    pub fn take(&mut self) -> Process {
        self.up.take().expect("it runs")
    }

    /// Ends `up` as a power cut would; its servers are left behind.
    pub fn kill(&mut self) {
        self.take().kill();
    }

    /// Ends one of the servers as a power cut would.
    pub fn kill_server(&self, server: Server) {
        if let Some(id) = self.server(server) {
            send(id, Signal::SIGKILL);
        }
    }

    /// The number of a server's process, while it runs.
    pub fn server(&self, server: Server) -> Option<u32> {
        let file = match server {
            Server::Nats => "nats/nats.pid",
            Server::Postgres => "postgres/postmaster.pid",
        };
        let text = fs::read_to_string(self.data().join(file)).ok()?;
        let id: u32 = text.lines().next()?.trim().parse().ok()?;
        self.processes().contains(&id).then_some(id)
    }

    /// All processes that have the data directory in their command line.
    pub fn processes(&self) -> Vec<u32> {
        let mark = self.data().display().to_string();
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(&mark));
        ids.filter(ours).collect()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.data()
    }

    /// Leaves the folder for whoever looks into a failure that is no panic.
    pub fn keep_folder(&self) {
        self.folder.keep();
    }

    /// A folder for what a test writes.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Returns whether the log of all starts of `up` contains a text that must not be logged, like a password.
    pub fn has_logged(&self, secret: &str) -> bool {
        self.log().contains(secret)
    }

    /// Returns the log lines of level ERROR: faults of the program or of the machine.
    pub fn logged_errors(&self) -> Vec<String> {
        let is_error =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["level"] == "ERROR");
        self.log().lines().filter(|line| is_error(line)).map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.log()).unwrap_or_default()
    }

    /// A value of `<data-dir>/env`.
    pub fn named(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.data().join("env")).ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }

    /// The program, to run against this system.
    pub fn tickbell(&self) -> Command {
        let mut command = tickbell(self.home());
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.tickbell());
        command.args(arguments).kill_on_drop(true).output().await.expect("the program runs")
    }

    /// Starts another service of this system beside it.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Process {
        Process::start(command, &self.home().join(format!("{name}.log")))
    }

    /// Writes a recording and publishes it, to its end.
    pub async fn ingest(&self, csv: &str, venue: &str) {
        let file = self.home().join(format!("{venue}.csv"));
        fs::write(&file, csv).expect("a file");
        self.ingest_file(&file, venue).await;
    }

    /// Publishes a recording to its end.
    pub async fn ingest_file(&self, file: &Path, venue: &str) {
        let source = format!("file:{}", file.display());
        let output = self.run(&["price-ingestor", "--source", &source, "--speed", "max", "--venue", venue]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the ingestor ended with {}: {said}", output.status);
    }

    /// Publishes messages as they are.
    pub async fn publish(&self, messages: &[OutboundMessage]) {
        self.broker().await.publish(messages).await.expect("published");
    }

    /// A connection to the broker.
    pub async fn broker(&self) -> Broker {
        self.try_broker().await.expect("the broker")
    }

    /// A connection to the broker, while it is there.
    pub async fn try_broker(&self) -> Option<Broker> {
        try_broker(&self.named("NATS_URL")?).await
    }

    /// Returns the progress of all consumers and deliveries; `None` while a server is down.
    pub async fn status(&self) -> Option<Status> {
        let output = self.run(&["status", "--json"]).await;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until everything that was published is processed, and every mail sent.
    pub async fn wait_until_processed(&self) {
        let done = async || self.status().await.filter(Status::is_done);
        wait_until("all is processed (see `tickbell status` and the log)", WORK, done).await;
    }

    /// The mails that were written so far.
    pub fn mails(&self) -> Vec<Mail> {
        mail::in_folder(&self.data().join("outbox"))
    }
}

async fn try_broker(url: &str) -> Option<Broker> {
    let settings = broker::Settings { url: url.to_owned(), ..broker::Settings::default() };
    Broker::connect_now(&settings, "e2e", Health::default().check("broker"), Shutdown::new()).await.ok()
}

impl Drop for System {
    fn drop(&mut self) {
        drop(self.up.take());
        for id in self.processes() {
            send(id, Signal::SIGKILL);
        }
    }
}
