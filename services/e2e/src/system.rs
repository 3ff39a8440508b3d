//! A whole system, as `tickbell up` starts it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use events::OutboundMessage;
use nix::sys::signal::Signal;
use platform::{Broker, Health, Shutdown, broker};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    Api, Mail, Process, Status, mail,
    process::{program, send, tickbell},
    until,
};

/// How long a start may take, with a new database cluster.
const START: Duration = Duration::from_secs(60);
/// How long it may take until all that was published is decided and told.
const WORK: Duration = Duration::from_secs(180);
/// A system is three servers; more of them at once only wait for each other.
static PLACES: Semaphore = Semaphore::const_new(2);

/// `tickbell up` in a folder of its own, without an ingestor. Everything ends when it is dropped.
pub struct System {
    up: Option<Process>,
    /// The gateway, on a port that stays the same.
    pub api: Api,
    settings: Vec<(String, String)>,
    data: PathBuf,
    home: TempDir,
    _place: SemaphorePermit<'static>,
}

/// The program of the next release, when these tests are those of the release before: see infra/scripts/previous.
const NEXT_RELEASE: &str = "TICKBELL_NEXT_RELEASE";

/// One of the two servers that `up` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// nats-server.
    Nats,
    /// PostgreSQL's first process.
    Postgres,
}

impl System {
    /// InitialPrices one and waits until it is ready.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same, with settings like `TICKBELL_GATEWAY__CONFIRMATION`.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let place = PLACES.acquire().await.expect("the semaphore is never closed");
        let home = tempfile::Builder::new().prefix("tickbell-journey-").tempdir().expect("a folder");
        // PostgreSQL runs as somebody else when we are root, and must get in.
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).expect("our folder");
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let data = home.path().join("data");
        let mut system = Self { up: None, api: Api::new(""), settings, data, home, _place: place };
        if let Some(next) = std::env::var_os(NEXT_RELEASE) {
            system.be_run_by(Path::new(&next)).await;
        }
        system.up().await;
        system
    }

    /// Lets another release make or change the data first; its schema is what this one then works with.
    async fn be_run_by(&mut self, other: &Path) {
        let mut command = program(other, self.home.path());
        command.arg("--data-dir").arg(&self.data).args(["up", "--source", "none", "--http", "127.0.0.1:0"]);
        self.up = Some(Process::start(&mut command, &self.log_file()));
        self.ready().await;
        self.stop().await;
        self.api = Api::new("");
    }

    /// InitialPrices it again after [`System::stop`] or [`System::kill`].
    pub async fn up(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// InitialPrices it again without waiting for it.
    pub fn launch(&mut self) {
        let address = self.api.base().strip_prefix("http://").unwrap_or("127.0.0.1:0").to_owned();
        let mut command = self.tickbell();
        command.args(["up", "--source", "none", "--http", &address]);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        self.up = Some(Process::start(&mut command, &self.log_file()));
    }

    /// Waits until it can serve.
    pub async fn ready(&mut self) {
        until("it is ready", START, async || {
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
        let text = fs::read_to_string(self.data.join(file)).ok()?;
        let id: u32 = text.lines().next()?.trim().parse().ok()?;
        self.processes().contains(&id).then_some(id)
    }

    /// All processes that have the data directory in their command line.
    pub fn processes(&self) -> Vec<u32> {
        let mark = self.data.display().to_string();
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(&mark));
        ids.filter(ours).collect()
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A folder for what a test writes.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What `up` has logged, all its starts together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("up.log")
    }

    /// A value of `<data-dir>/env`.
    pub fn named(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.data.join("env")).ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }

    /// The program, to run against this system.
    pub fn tickbell(&self) -> Command {
        let mut command = tickbell(self.home.path());
        command.arg("--data-dir").arg(&self.data);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.tickbell());
        command.args(arguments).kill_on_drop(true).output().await.expect("the program runs")
    }

    /// InitialPrices another service of this system beside it.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Process {
        Process::start(command, &self.home.path().join(format!("{name}.log")))
    }

    /// Writes a recording and publishes it, to its end.
    pub async fn ingest(&self, csv: &str, venue: &str) {
        let file = self.home.path().join(format!("{venue}.csv"));
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
        let settings = broker::Settings { url: self.named("NATS_URL")?, ..broker::Settings::default() };
        Broker::connect_now(&settings, "journey", Health::default().check("broker"), Shutdown::new()).await.ok()
    }

    /// How far everything is; `None` while a server is away.
    pub async fn status(&self) -> Option<Status> {
        let output = self.run(&["status", "--json"]).await;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until everything that was published is decided, and everybody told.
    pub async fn until_processed(&self) {
        let done = async || self.status().await.filter(Status::is_done);
        until("all is processed (see `tickbell status` and the log)", WORK, done).await;
    }

    /// The mails that were written so far.
    pub fn mails(&self) -> Vec<Mail> {
        mail::in_folder(&self.data.join("outbox"))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        drop(self.up.take());
        for id in self.processes() {
            send(id, Signal::SIGKILL);
        }
    }
}
