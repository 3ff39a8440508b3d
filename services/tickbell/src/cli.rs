//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use platform::settings::Pair;

use crate::{
    exit::Exit,
    operate::{dlq, doctor, migrate, status, streams},
    process::{self, Role},
    up,
};

/// Watches prices and rings.
///
/// Settings come from tickbell.toml, then TICKBELL_SECTION__KEY variables, then flags. `tickbell up` runs everything
/// on this machine; the other services run one by one against a NATS server and a PostgreSQL database.
#[derive(Debug, Parser)]
#[command(name = "tickbell", version, propagate_version = true)]
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
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, with its own servers unless told of others
    Up(Up),
    /// Publish prices: from the simulator, a file, or the coinnews API
    PriceIngestor(Ingest),
    /// Judge prices against rules
    AlertEngine,
    /// Keep prices and candles
    HistoryWriter,
    /// Tell people
    Notifier,
    /// Serve the HTTP API
    Gateway(Http),
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
}

/// What `up` runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// Where prices come from: simulator, file:PATH, coinnews:URL, or none
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) http: Http,
}

/// Where the API listens.
#[derive(Debug, Clone, Args)]
pub(crate) struct Http {
    /// Address of the HTTP API [default: 127.0.0.1:8080]
    #[arg(long = "http", value_name = "ADDR")]
    address: Option<String>,
}

impl Http {
    pub(crate) fn flags(&self) -> Vec<Pair> {
        self.address.iter().map(|address| ("gateway.listen", address.clone())).collect()
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
    fn flags(self) -> Vec<Pair> {
        let given = [
            ("price_ingestor.source", self.source),
            ("price_ingestor.speed", self.speed),
            ("price_ingestor.venue", self.venue),
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
    let common = cli.common;
    match cli.command {
        Command::Up(up) => up::run(&common, &up).await,
        Command::PriceIngestor(ingest) => process::run(&common, Role::PriceIngestor, ingest.flags()).await,
        Command::AlertEngine => process::run(&common, Role::AlertEngine, vec![]).await,
        Command::HistoryWriter => process::run(&common, Role::HistoryWriter, vec![]).await,
        Command::Notifier => process::run(&common, Role::Notifier, vec![]).await,
        Command::Gateway(http) => process::run(&common, Role::Gateway, http.flags()).await,
        Command::Migrate => migrate::run(&common).await,
        Command::Streams(command) => streams::run(&common, command).await,
        Command::Status(output) => status::run(&common, &output).await,
        Command::Dlq(command) => dlq::run(&common, command).await,
        Command::Doctor(output) => doctor::run(&common, &output).await,
    }
}
