//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use platform::settings::Pair;

use crate::{
    exit::Exit,
    operate::{accounts, dlq, doctor, healthcheck, ledger, migrate, orders, person, smoke, status, streams},
    print::say,
    process::{self, Role},
    settings::Settings,
    up, version,
};

/// Watches prices and rings.
///
/// Settings come from tickbell.toml, then TICKBELL_SECTION__KEY variables, then flags. `tickbell up` runs everything
/// on this machine; the other services run one by one against a NATS server and a PostgreSQL database.
#[derive(Debug, Parser)]
#[command(name = "tickbell", version = version::shown(), propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Settings file [default: tickbell.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where `up` keeps its servers' data, and mails go without SMTP
    #[arg(long, global = true, value_name = "DIR", default_value = ".tickbell")]
    pub(crate) data_dir: PathBuf,
    /// NATS server to use
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) nats_url: Option<String>,
    /// PostgreSQL database to use
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// What is logged: error, warn, info, debug, or per module
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Read the command's settings, say what is wrong with them, and end
    #[arg(long, global = true)]
    check_settings: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, with its own servers unless told of others
    Up(Up),
    #[command(flatten)]
    Service(Service),
    /// Bring the database's schema up to this version
    Migrate,
    /// Make, compare or export the streams of schemas/streams.yaml
    #[command(subcommand)]
    Streams(streams::Command),
    /// Say how far everything is
    Status(Output),
    /// Look at messages that were given up, and replay them
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Say what is not well, and how to mend it
    Doctor(Output),
    /// Place orders, look at them, and take them back
    #[command(subcommand)]
    Orders(orders::Command),
    /// Say what you have; fund accounts and change what is kept of them
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// Say what is kept about a person, and erase it
    #[command(subcommand)]
    Person(person::Command),
    /// Say whether the money is right
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Ask a service on this machine whether it is ready, for a container's health check
    Healthcheck(healthcheck::Arguments),
    /// Try a running API from outside: health, documents, prices, history, refusals
    Smoke(smoke::Arguments),
}

/// What runs until it is asked to stop.
#[derive(Debug, Subcommand)]
enum Service {
    /// Publish prices: from the simulator, a file, or the coinnews API
    PriceIngestor(Ingest),
    /// Judge prices against rules
    AlertEngine,
    /// Keep prices and candles
    HistoryWriter,
    /// Fill orders at the prices, and keep the ledger
    TradeSettler,
    /// Tell people
    Notifier,
    /// Serve the HTTP API
    Gateway(Http),
    /// Serve the coinnews API, for pollers that must not need the internet
    Coinnews(News),
}

impl Service {
    fn role(&self) -> Role {
        match self {
            Self::PriceIngestor(_) => Role::PriceIngestor,
            Self::AlertEngine => Role::AlertEngine,
            Self::HistoryWriter => Role::HistoryWriter,
            Self::TradeSettler => Role::TradeSettler,
            Self::Notifier => Role::Notifier,
            Self::Gateway(_) => Role::Gateway,
            Self::Coinnews(_) => Role::Coinnews,
        }
    }

    /// Its flags that are settings.
    fn flags(&self) -> Vec<Pair> {
        match self {
            Self::PriceIngestor(ingest) => ingest.flags(),
            Self::Gateway(http) => http.flags(),
            Self::Coinnews(news) => news.flags(),
            Self::AlertEngine | Self::HistoryWriter | Self::TradeSettler | Self::Notifier => vec![],
        }
    }
}

/// What `up` runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// Where prices come from: simulator, file:PATH, coinnews:URL, or none
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    #[command(flatten)]
    http: Http,
}

/// Where the API listens.
#[derive(Debug, Clone, Args)]
pub(crate) struct Http {
    /// Address of the HTTP API [default: 127.0.0.1:8080]
    #[arg(long = "http", value_name = "ADDR")]
    address: Option<String>,
}

impl Up {
    /// Whether somebody else publishes prices.
    pub(crate) fn is_without_prices(&self) -> bool {
        self.source.as_deref() == Some("none")
    }

    pub(crate) fn flags(&self) -> Vec<Pair> {
        let source = self.source.clone().filter(|_| !self.is_without_prices());
        let source = source.map(|source| ("price_ingestor.source", source));
        source.into_iter().chain(self.http.flags()).collect()
    }
}

impl Http {
    fn flags(&self) -> Vec<Pair> {
        self.address.iter().map(|address| ("gateway.listen", address.clone())).collect()
    }
}

/// What is served as news of coins, and where.
#[derive(Debug, Clone, Args)]
struct News {
    /// Where prices come from: walk, or file:PATH (CSV or NDJSON, also .gz)
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Address of the coinnews API [default: 127.0.0.1:8090]
    #[arg(long = "http", value_name = "ADDR")]
    address: Option<String>,
}

impl News {
    fn flags(&self) -> Vec<Pair> {
        let given = [("coinnews.source", &self.source), ("coinnews.listen", &self.address)];
        given.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
    }
}

/// What is ingested, and how.
#[derive(Debug, Clone, Args)]
struct Ingest {
    /// simulator, file:PATH (CSV or NDJSON, also .gz) or coinnews:URL
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// How fast a file is published: max, or so many times as fast as it was recorded, like 60x
    #[arg(long, value_name = "SPEED")]
    speed: Option<String>,
    /// Venue that ticks are published under [default: the source's own name]
    #[arg(long, value_name = "NAME")]
    venue: Option<String>,
    /// Poll once and end
    #[arg(long)]
    once: bool,
}

impl Ingest {
    fn flags(&self) -> Vec<Pair> {
        let given = [
            ("price_ingestor.source", self.source.clone()),
            ("price_ingestor.speed", self.speed.clone()),
            ("price_ingestor.venue", self.venue.clone()),
            ("price_ingestor.once", self.once.then(|| "true".to_owned())),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { common, command } = cli;
    if common.check_settings {
        return check_settings(&common, &command);
    }
    match command {
        Command::Up(up) => up::run(&common, &up).await,
        Command::Service(service) => process::run(&common, service.role(), service.flags()).await,
        Command::Migrate => migrate::run(&common).await,
        Command::Streams(command) => streams::run(&common, command).await,
        Command::Status(output) => status::run(&common, &output).await,
        Command::Dlq(command) => dlq::run(&common, command).await,
        Command::Doctor(output) => doctor::run(&common, &output).await,
        Command::Orders(command) => orders::run(&common, command).await,
        Command::Accounts(command) => accounts::run(&common, command).await,
        Command::Person(command) => person::run(&common, command).await,
        Command::Ledger(command) => ledger::run(&common, command).await,
        Command::Healthcheck(arguments) => healthcheck::run(&common, &arguments).await,
        Command::Smoke(arguments) => smoke::run(&arguments).await,
    }
}

fn check_settings(common: &Common, command: &Command) -> anyhow::Result<Exit> {
    let settings = match command {
        Command::Service(service) => process::read(common, service.role(), service.flags())?,
        Command::Up(up) => Settings::read(common, vec![], up.flags())?,
        _ => Settings::read(common, vec![], vec![])?,
    };
    say(&format!("The settings are good; this is {}.", settings.telemetry.environment));
    Ok(Exit::Done)
}
