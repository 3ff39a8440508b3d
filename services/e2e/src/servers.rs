//! Services as processes of their own, on servers that nobody's `up` owns.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use reqwest::Method;

use crate::{Api, Process, Status, System, system::Server, until};

const START: Duration = Duration::from_secs(30);
/// How long it may take until all that was published is decided and told.
const WORK: Duration = Duration::from_secs(60);

/// Both servers, and what services must know of them.
pub struct Servers {
    _running: [Process; 2],
    settings: Vec<(String, String)>,
}

/// Where a service says whether it is ready, by the words that it logs before the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everybody's, a gateway's alone.
    Api,
    /// The house's own, which every service has.
    Admin,
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
        // Only root may become another; who is not root is who `up` was.
        if nix::unistd::Uid::effective().is_root() {
            command.uid(self.user.0).gid(self.user.1);
        }
        system.spawn(name, &mut command)
    }
}

impl Servers {
    /// Takes the servers over from `up`, which has made the database and the streams. Services get `settings`, besides
    /// what none of them can do without.
    pub async fn take_over(system: &mut System, settings: &[(&str, &str)]) -> Self {
        let recipes = [Server::Nats, Server::Postgres].map(|server| Recipe::of(system, server));
        let mut all: Vec<(String, String)> =
            ["NATS_URL", "DATABASE_URL"].map(|name| (name.to_owned(), system.named(name).expect("a URL"))).into();
        let needed = [("TICKBELL_LINKS__SECRET", "0123456789abcdef"), ("TICKBELL_GATEWAY__CONFIRMATION", "off")];
        all.extend(needed.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        system.stop().await;
        let running =
            [("nats", &recipes[0]), ("postgres", &recipes[1])].map(|(name, recipe)| recipe.start(system, name));
        Self { _running: running, settings: all }
    }

    /// Where the broker is.
    pub fn nats_url(&self) -> &str {
        &self.settings[0].1
    }

    /// InitialPrices one service, with its log by itself.
    pub fn service(&self, system: &System, name: &str, arguments: &[&str]) -> Process {
        let mut command = system.tickbell();
        command.args(arguments).envs(self.settings.iter().map(|(name, value)| (name, value)));
        system.spawn(name, &mut command)
    }

    /// How far everything is; there is no `up`, so there is no env file that says where.
    pub async fn status(&self, system: &System) -> Option<Status> {
        let mut command = tokio::process::Command::from(system.tickbell());
        command.args(["status", "--json"]).envs(self.settings.iter().map(|(name, value)| (name, value)));
        let output = command.kill_on_drop(true).output().await.ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until everything that was published is decided, and everybody told.
    pub async fn until_processed(&self, system: &System) {
        let done = async || self.status(system).await.filter(Status::is_done);
        until("all is processed", WORK, done).await;
    }
}

impl Door {
    /// A service's door on a free port, once it says there that it is ready.
    pub async fn of(self, service: &Process) -> Api {
        let words = match self {
            Self::Api => "the API is at ",
            Self::Admin => "health and metrics are at ",
        };
        until("the service is ready", START, async || {
            let log = service.log();
            let (_, rest) = log.split_once(words)?;
            let base: String = rest.chars().take_while(|c| !['"', ' ', ','].contains(c)).collect();
            let api = Api::new(base.trim_end_matches("/v1").trim_end_matches("/readyz"));
            let answer = Api::try_send(api.request(Method::GET, "/readyz")).await?;
            (answer.status == 200).then_some(api)
        })
        .await
    }
}
