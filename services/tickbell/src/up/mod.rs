//! `tickbell up`: everything in one process, with its own nats-server and PostgreSQL unless told of others.

mod child;
mod data_dir;
mod find;
mod nats;
mod postgres;

use std::{net::SocketAddr, num::NonZero, thread, time::Duration};

use gateway::Gateway;
use platform::{Broker, Health, broker, runtime::error::error_chain, settings::Pair, signed_links::Links, telemetry};
use store::Store;
use tokio::{task::JoinSet, time::timeout};
use tracing::{error, info, warn};

use crate::{
    cli::{Common, Up},
    exit::{Exit, unavailable},
    print::say,
    process::{Context, Role, prepare, serve},
    settings::Settings,
    signals, version,
};
use child::Running;
use data_dir::DataDir;

/// How long services may take to finish what they are doing, beyond what the gateway may take for its requests.
const DRAIN: Duration = Duration::from_secs(1);

/// Whether an ingestor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prices {
    Taken,
    /// `--source none`: somebody else publishes.
    Absent,
}

/// Runs until a signal, or until something fails that will not mend itself.
pub(crate) async fn run(common: &Common, up: &Up) -> anyhow::Result<Exit> {
    let data = DataDir::open(&common.data_dir)?;
    let prices = if up.is_without_prices() { Prices::Absent } else { Prices::Taken };
    let mut settings = Settings::read(common, defaults(&data)?, up.flags())?;
    let telemetry = telemetry::init(version::program("tickbell"), &settings.telemetry)?;
    let shutdown = signals::shutdown()?;

    let servers = start_servers(common, &data, &mut settings).await?;
    let health = Health::default();
    let check = health.check("broker");
    let broker = Broker::connect(&settings.nats, "up", check, shutdown.clone()).await.map_err(unavailable)?;
    let context = Context { broker, health, metrics: telemetry.metrics.clone(), shutdown };
    let ended = run_services(&context, &settings, &data, prices).await;

    context.shutdown.cancel();
    data.forget_env();
    for server in servers.into_iter().rev() {
        server.stop().await;
    }
    ended?;
    info!("stopped; started again it goes on where it was");
    Ok(Exit::Done)
}

/// What `up` takes for granted; settings of the user win.
fn defaults(data: &DataDir) -> anyhow::Result<Vec<Pair>> {
    let connections = ("database.max_connections", connections().to_string());
    Ok(vec![("gateway.confirmation", "off".into()), ("links.secret", data.secret("links")?), connections])
}

/// All services share one pool, and nine of its connections are held by who waits for a lock or a notice. The others take
/// turns, each with caches of its own: more of them than the cores can use make everything slower.
fn connections() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    9 + (4 * cores).clamp(7, 91)
}

/// InitialPrices the servers that nobody named, and puts where they are into the settings.
async fn start_servers(common: &Common, data: &DataDir, settings: &mut Settings) -> anyhow::Result<Vec<Running>> {
    // `tickbell.toml` may name them too; only a default that was typed out cannot be told from one that was not.
    let named = |flag: &Option<String>, names: [&str; 2]| {
        flag.is_some() || names.iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty()))
    };
    let (nats, database) = (broker::Settings::default(), store::Settings::default());
    let mut servers = Vec::new();
    if settings.database.url == database.url && !named(&common.database_url, ["DATABASE_URL", "TICKBELL_DATABASE__URL"])
    {
        let (server, url) = postgres::start(data).await?;
        settings.database.url = url;
        servers.push(server);
    }
    if settings.nats.url == nats.url && !named(&common.nats_url, ["NATS_URL", "TICKBELL_NATS__URL"]) {
        let (server, nats) = nats::start(data).await?;
        settings.nats = nats;
        servers.push(server);
    }
    Ok(servers)
}

async fn run_services(context: &Context, settings: &Settings, data: &DataDir, prices: Prices) -> anyhow::Result<()> {
    let store = Store::connect(&settings.database, "up").await.map_err(unavailable)?;
    store.migrate().await?;
    prepare(&context.broker, settings).await?;
    let gateway = bind_gateway(context, settings, store.clone()).await?;
    let address = gateway.local_addr();
    let mut settings = settings.clone();
    settings.links.base_url = base_url(&settings, address);

    let mut services = JoinSet::new();
    let shutdown = context.shutdown.clone();
    services.spawn(async move { (Role::Gateway, gateway.serve(shutdown).await.map_err(Into::into)) });
    let mut roles = vec![Role::HistoryWriter, Role::AlertEngine, Role::TradeSettler, Role::Notifier];
    roles.extend((prices == Prices::Taken).then_some(Role::PriceIngestor));
    for role in roles {
        let (context, store, settings) = (context.clone(), store.clone(), settings.clone());
        services.spawn(async move { (role, serve(role, &context, store, &settings).await) });
    }
    let (watched, watch) = (store.clone(), context.clone());
    tokio::spawn(async move { watched.watch(&watch.health, &watch.shutdown).await });
    data.write_env(&settings, address)?;
    say(&welcome(&settings, data, address));
    let gateway = settings.gateway.lame_duck_seconds + settings.gateway.drain_seconds;
    let ended = until_stopped(context, &mut services, DRAIN + Duration::from_secs(gateway)).await;
    if timeout(Duration::from_secs(1), store.close()).await.is_err() {
        warn!("some database connections were still in use");
    }
    ended
}

async fn bind_gateway(context: &Context, settings: &Settings, store: Store) -> anyhow::Result<Gateway> {
    let Context { broker, health, metrics, .. } = context.clone();
    let links = Links::new(&settings.links)?;
    Ok(Gateway::bind(settings.gateway.clone(), links, store, broker, health, metrics).await?)
}

/// Links in mails lead to this gateway unless the user said where people reach it.
fn base_url(settings: &Settings, address: SocketAddr) -> String {
    let said = settings.links.base_url.clone();
    if said == platform::signed_links::Settings::default().base_url { format!("http://{address}") } else { said }
}

/// Waits for a signal, or for a service that cannot go on; then for all to finish.
async fn until_stopped(
    context: &Context,
    services: &mut JoinSet<(Role, anyhow::Result<()>)>,
    patience: Duration,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while outcome.is_ok() && !context.shutdown.is_cancelled() {
        tokio::select! {
            () = context.shutdown.cancelled() => {}
            ended = services.join_next() => match ended {
                // An ingestor ends with its file.
                Some(Ok((role, Ok(())))) => info!(service = role.name(), "done"),
                Some(Ok((role, Err(error)))) => {
                    error!(service = role.name(), error = error_chain(error.as_ref()), "stopping everything");
                    outcome = Err(error.context(format!("{} cannot go on", role.name())));
                }
                Some(Err(error)) => outcome = Err(anyhow::Error::new(error).context("a service panicked")),
                None => break,
            },
        }
    }
    context.shutdown.cancel();
    let drained = timeout(patience, async { while services.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        warn!(services = services.len(), seconds = patience.as_secs(), "not waiting any longer for services");
        services.abort_all();
    }
    outcome
}

fn welcome(settings: &Settings, data: &DataDir, address: SocketAddr) -> String {
    let mails = if settings.smtp.url.is_empty() {
        format!("{}/*.eml", settings.notifier.outbox_dir.display())
    } else {
        "sent by SMTP".to_owned()
    };
    format!(
        "
Tickbell is up.

  API      http://{address}   (documentation: http://{address}/docs)
  mails    {mails}
  data     {}   (addresses of the servers: {}/env)

Subscribe, and wait for the first mail:

  curl -X POST http://{address}/v1/alerts -H 'content-type: application/json' \\
       -d '{{\"email\": \"you@example.com\", \"symbol\": \"BTC-USD\", \"percent\": \"2\"}}'

Ctrl-C stops it; started again it goes on where it was.
",
        data.path().display(),
        data.path().display(),
    )
}
