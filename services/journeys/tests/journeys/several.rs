//! Services as processes of their own, two of each, on servers that nobody's `up` owns.

use std::{
    fs, os::unix::fs::MetadataExt, os::unix::process::CommandExt, path::PathBuf, process::Command, time::Duration,
};

use journeys::{Api, Process, System, system::Server, until};
use reqwest::Method;
use serde_json::json;

use crate::replay;

const START: Duration = Duration::from_secs(30);
/// A lock is free when its holder's connection is found broken, and asked for twice a second.
const TAKE_OVER: Duration = Duration::from_secs(15);

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

/// Both servers, and what services must know of them.
struct Servers {
    _running: [Process; 2],
    urls: [(&'static str, String); 2],
}

/// Takes the servers over from `up`, which has made the database.
async fn servers(system: &mut System) -> Servers {
    let recipes = [Server::Nats, Server::Postgres].map(|server| Recipe::of(system, server));
    let urls = ["NATS_URL", "DATABASE_URL"].map(|name| (name, system.named(name).expect("a URL")));
    system.stop().await;
    let running = [("nats", &recipes[0]), ("postgres", &recipes[1])].map(|(name, recipe)| recipe.start(system, name));
    Servers { _running: running, urls }
}

/// One service, with its log by itself.
fn service(system: &System, servers: &Servers, name: &str, arguments: &[&str]) -> Process {
    let mut command = system.tickbell();
    command.args(arguments).envs(servers.urls.iter().map(|(name, url)| (name, url)));
    command.env("TICKBELL_LINKS__SECRET", "0123456789abcdef").env("TICKBELL_GATEWAY__CONFIRMATION", "off");
    system.spawn(name, &mut command)
}

/// Where a gateway with a free port listens, once it answers.
async fn api_of(gateway: &Process) -> Api {
    until("the gateway answers", START, async || {
        let log = gateway.log();
        let (_, rest) = log.split_once("the API is at ")?;
        let base: String = rest.chars().take_while(|c| !['"', ' ', ','].contains(c)).collect();
        let api = Api::new(base.trim_end_matches("/v1"));
        let answer = Api::try_send(api.request(Method::GET, "/readyz")).await?;
        (answer.status == 200).then_some(api)
    })
    .await
}

fn works(process: &Process) -> bool {
    process.log().contains("doing the work")
}

/// The one of two that does the work, and the one that stands by.
async fn by_work(what: &str, pair: [Process; 2]) -> (Process, Process) {
    let settled = async || (pair.iter().any(works) && pair.iter().any(stands_by)).then_some(());
    until(&format!("one {what} works and the other stands by"), START, settled).await;
    let [one, other] = pair;
    if works(&one) { (one, other) } else { (other, one) }
}

fn stands_by(process: &Process) -> bool {
    process.log().contains("standing by")
}

#[tokio::test]
async fn two_of_every_service_work_as_one_and_the_second_takes_over() {
    replay::undisturbed().await;
    let mut system = System::start().await;
    let servers = servers(&mut system).await;
    let start = |name: &str, arguments: &[&str]| service(&system, &servers, name, arguments);
    let pair = |name: &str| ["one", "two"].map(|which| start(&format!("{name}-{which}"), &[name]));
    let _history = by_work("history-writer", pair("history-writer")).await;
    let (engine, standby) = by_work("alert-engine", pair("alert-engine")).await;
    let (notifier, other_notifier) = by_work("notifier", pair("notifier")).await;
    let gateways =
        ["one", "two"].map(|which| start(&format!("gateway-{which}"), &["gateway", "--http", "127.0.0.1:0"]));
    let [one, two] = [api_of(&gateways[0]).await, api_of(&gateways[1]).await];
    assert_ne!(one.base(), two.base());

    // A rule made at one gateway is there at the other.
    system.api = one;
    let paused = system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "1" } } })).await;
    let answer = two.manage(Method::PATCH, &paused, Some(json!({ "status": "paused" }))).await;
    answer.expect_status(200);
    assert_eq!(system.api.status_of(&paused).await, "paused");
    let alerts = replay::subscribe_at(&[&system.api, &two]).await;
    until_processed(&system, &servers).await;

    let mut ingestor = replay::play_at(&system, &servers.urls[0].1);
    until("some have fired", START, async || system.mails().get(4).cloned()).await;
    engine.kill();
    until("the standby takes over", TAKE_OVER, async || works(&standby).then_some(())).await;
    notifier.kill();
    until("the other notifier takes over", TAKE_OVER, async || works(&other_notifier).then_some(())).await;
    let status = ingestor.wait(Duration::from_secs(120)).await;
    assert!(status.success(), "the ingestor ended with {status}");
    until_processed(&system, &servers).await;

    let outcome = replay::outcome(&system, &alerts).await;
    assert_eq!(&outcome, replay::undisturbed().await);
    replay::assert_told_once(&system.mails(), &alerts, &outcome);
    system.api = two;
    assert_eq!(&replay::outcome(&system, &alerts).await, replay::undisturbed().await, "both gateways say the same");
    assert_eq!(system.api.firings(&paused).await, []);
}

/// There is no `up`, so there is no env file either.
async fn until_processed(system: &System, servers: &Servers) {
    let done = async || {
        let mut command = tokio::process::Command::from(system.tickbell());
        command.args(["status", "--json"]).envs(servers.urls.iter().map(|(name, url)| (name, url)));
        let output = command.kill_on_drop(true).output().await.ok()?;
        let status: journeys::Status = serde_json::from_slice(&output.stdout).ok()?;
        status.is_done().then_some(())
    };
    until("all is processed", Duration::from_secs(60), done).await;
}
