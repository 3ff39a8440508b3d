//! `tickbell up`: all services in one process, with a nats-server and a PostgreSQL of its own unless the settings name
//! others.

mod child;
mod data_dir;
mod find;
mod nats;
mod postgres;
mod welcome;

use std::{net::SocketAddr, num::NonZero, thread, time::Duration};

use clap::Args;
use platform::{Broker, Health, broker, runtime::error::error_chain, settings::Pair, telemetry};
use store::Store;
use tokio::{task::JoinSet, time::timeout};
use tracing::{error, info, warn};

use crate::{
    exit::{Exit, unavailable},
    options::GlobalOptions,
    print::print,
    process::{DATABASE, DATABASE_WRITES, prepare_streams, watch_database},
    services::{Context, InUp, Run, SERVICES, Service, gateway},
    settings::{Settings, sources},
    signals, version,
};
use child::RunningServer;
use data_dir::DataDir;

/// How long services may take to finish their work, beyond the time that the gateway has for its requests.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the database connections may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The arguments of the command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// Source of the prices: simulator, file:PATH, tape:PATH, coinnews:URL, an exchange like coinbase, or none [default: simulator]
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Symbols that are followed at an exchange, like BTC-USD,ETH-USD
    #[arg(long, value_name = "SYMBOLS")]
    symbols: Option<String>,
    /// Addresses of a server that stands in for an exchange, like coinbase=ws://127.0.0.1:9001,http://127.0.0.1:9002
    #[arg(long, value_name = "VENUE=WS,REST")]
    venue_url: Option<String>,
    /// Replay speed of a file or a tape: max, or a multiple of the recorded pace, like 60x [default: max]
    #[arg(long, value_name = "SPEED")]
    speed: Option<String>,
    /// Address of the HTTP API [default: 127.0.0.1:8080]
    #[arg(long = "http", value_name = "ADDR")]
    http: Option<String>,
}

impl Arguments {
    /// Returns the settings that the arguments override.
    pub(crate) fn flags(&self) -> Vec<Pair> {
        let source = self.source.clone().filter(|_| !self.is_without_prices());
        let given = [
            ("price_ingestor.source", source),
            ("price_ingestor.symbols", self.symbols.clone()),
            ("price_ingestor.venue_url", self.venue_url.clone()),
            ("price_ingestor.speed", self.speed.clone()),
            ("gateway.listen", self.http.clone()),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn is_without_prices(&self) -> bool {
        self.source.as_deref() == Some("none")
    }

    /// Returns whether a service runs in this `up`, beside the gateway.
    fn includes(&self, service: &Service) -> bool {
        match service.in_up {
            InUp::Yes => true,
            InUp::WithPrices => !self.is_without_prices(),
            InUp::First | InUp::No => false,
        }
    }
}

/// Runs everything until a signal, or until an error that retrying cannot fix.
pub(crate) async fn run(options: &GlobalOptions, arguments: &Arguments) -> anyhow::Result<Exit> {
    let data = DataDir::open(&options.data_dir)?;
    let mut settings = sources::read(options, defaults(&data)?, arguments.flags())?;
    let telemetry = telemetry::init(version::program("tickbell"), &settings.telemetry)?;
    let shutdown = signals::shutdown(settings.gateway.longest_drain())?;

    let servers = start_servers(options, &data, &mut settings).await?;
    let health = Health::default();
    let check = health.check("broker");
    let broker = Broker::connect(&settings.nats, "up", check, shutdown.clone()).await.map_err(unavailable)?;
    let metrics = telemetry.metrics.clone();
    let context = Context { settings, health, metrics, shutdown: shutdown.clone() };
    let services = SERVICES.iter().copied().filter(|service| arguments.includes(service)).collect();
    let outcome = run_services(context, broker, &data, services).await;

    shutdown.cancel();
    data.remove_env();
    for server in servers.into_iter().rev() {
        server.stop().await;
    }
    outcome?;
    info!("stopped");
    Ok(Exit::Done)
}

/// Returns the defaults that `up` has of its own; every other source of settings overrides them.
fn defaults(data: &DataDir) -> anyhow::Result<Vec<Pair>> {
    let connections = ("database.max_connections", connections().to_string());
    Ok(vec![("gateway.confirmation", "off".into()), ("links.secret", data.secret("links")?), connections])
}

/// Returns the size of the one pool that all services share: ten connections that wait for a lock, a notification
/// or the next batch, and four per core for the rest. Each connection has caches of its own, so more of them make everything slower.
fn connections() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    10 + (4 * cores).clamp(7, 91)
}

/// Starts the servers that the settings do not name, and puts their addresses into the settings.
async fn start_servers(
    options: &GlobalOptions,
    data: &DataDir,
    settings: &mut Settings,
) -> anyhow::Result<Vec<RunningServer>> {
    // The settings file may name a server too. A default that was typed out cannot be told from one that was not, so
    // flags and variables count even with the default value.
    let is_named = |flag: &Option<String>, names: [&str; 2]| {
        flag.is_some() || names.iter().any(|name| sources::variable(name).is_some())
    };
    let (nats, database) = (broker::Settings::default(), store::Settings::default());
    let mut servers = Vec::new();
    if settings.database.url == database.url
        && !is_named(&options.database_url, ["DATABASE_URL", "TICKBELL_DATABASE__URL"])
    {
        let (server, url) = postgres::start(data).await?;
        settings.database.url = url;
        servers.push(server);
    }
    if settings.nats.url == nats.url && !is_named(&options.nats_url, ["NATS_URL", "TICKBELL_NATS__URL"]) {
        let (server, nats) = nats::start(data).await?;
        settings.nats = nats;
        servers.push(server);
    }
    Ok(servers)
}

async fn run_services(
    mut context: Context,
    broker: Broker,
    data: &DataDir,
    services: Vec<&'static Service>,
) -> anyhow::Result<()> {
    let store = Store::connect(&context.settings.database, "up").await.map_err(unavailable)?;
    store.migrate().await?;
    prepare_streams(&broker, &context.settings, SERVICES).await?;
    let gateway = gateway::bind(context.clone(), broker.clone(), store.clone()).await?;
    let address = gateway.local_addr();
    context.settings.links.base_url = base_url(&context.settings, address);
    // Whoever sees that the API answers may run a command at once, which reads this file.
    data.write_env(&context.settings, address)?;

    let mut running = JoinSet::new();
    let shutdown = context.shutdown.clone();
    running.spawn(async move { ("gateway", gateway.serve(shutdown).await.map_err(Into::into)) });
    for service in services {
        let (context, broker, store) = (context.clone(), broker.clone(), store.clone());
        let task = match service.run {
            Run::Alone(run) => run(context),
            Run::WithDatabaseAlone(run) => run(context, store),
            Run::WithDatabase(run) | Run::WithOptionalBroker(run) => run(context, broker, store),
            Run::WithOptionalDatabase { run, .. } => run(context, broker, Some(store)),
        };
        running.spawn(async move { (service.name, task.await) });
    }
    // The API answers queries without them.
    let writes = context.health.optional_check(DATABASE_WRITES);
    watch_database(&store, &context, context.health.check(DATABASE), writes);
    print(&welcome::text(&context.settings, data.path(), address));
    let drain = DRAIN + context.settings.gateway.longest_drain();
    let outcome = run_until_stopped(&context, &mut running, drain).await;
    if timeout(CLOSE_TIMEOUT, store.close()).await.is_err() {
        warn!("database connections still in use at exit");
    }
    outcome
}

/// Returns the base URL of links in mails: this gateway's, unless the settings name another.
fn base_url(settings: &Settings, address: SocketAddr) -> String {
    let set = settings.links.base_url.clone();
    if set == platform::signed_links::Settings::default().base_url { format!("http://{address}") } else { set }
}

/// Waits for a signal, or for a service that fails; then stops all services, and waits until they end or `drain` passes.
async fn run_until_stopped(
    context: &Context,
    services: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    drain: Duration,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while outcome.is_ok() && !context.shutdown.is_cancelled() {
        tokio::select! {
            () = context.shutdown.cancelled() => {}
            ended = services.join_next() => match ended {
                // The price-ingestor ends with its file.
                Some(Ok((service, Ok(())))) => info!(service, "finished"),
                Some(Ok((service, Err(error)))) => {
                    error!(service, error = error_chain(error.as_ref()), "service failed, stopping all services");
                    outcome = Err(error.context(format!("{service} failed")));
                }
                Some(Err(error)) => outcome = Err(anyhow::Error::new(error).context("a service panicked")),
                None => break,
            },
        }
    }
    context.shutdown.cancel();
    let drained = timeout(drain, async { while services.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        warn!(services = services.len(), seconds = drain.as_secs(), "services still running, aborting them");
        services.abort_all();
    }
    outcome
}
