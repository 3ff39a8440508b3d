//! A process that runs one service: read top to bottom, settings before sockets, announce, serve, drain.

use events::streams::Topology;
use platform::{
    Broker, Health, ServiceError, Shutdown,
    broker::topology,
    http::admin,
    settings::Pair,
    signed_links::Links,
    telemetry::{self, Metrics},
};
use store::Store;
use tracing::info;

use crate::{
    cli::Common,
    exit::{Exit, Unavailable, unavailable},
    settings::Settings,
    signals, version,
};

/// What a process does. The names are those of folders, crates, subcommands and Deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    PriceIngestor,
    AlertEngine,
    HistoryWriter,
    TradeSettler,
    Notifier,
    Gateway,
    Coinnews,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PriceIngestor => "price-ingestor",
            Self::AlertEngine => "alert-engine",
            Self::HistoryWriter => "history-writer",
            Self::TradeSettler => "trade-settler",
            Self::Notifier => "notifier",
            Self::Gateway => "gateway",
            Self::Coinnews => "coinnews",
        }
    }
}

/// What every service is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) broker: Broker,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}

/// Runs one service until it is done or asked to stop.
pub(crate) async fn run(common: &Common, role: Role, flags: Vec<Pair>) -> anyhow::Result<Exit> {
    let settings = read(common, role, flags)?;
    let telemetry = telemetry::init(version::program(role.name()), &settings.telemetry)?;
    let shutdown = signals::shutdown()?;
    let health = checks(role);
    admin::start(settings.admin.listen, health.clone(), telemetry.metrics.clone()).await?;
    if role == Role::Coinnews {
        let check = health.check(role.name());
        coinnews::run(settings.coinnews.clone(), check, shutdown).await?;
        return Ok(Exit::Done);
    }
    // The gateway answers queries and takes rules while the broker is away.
    let check = if role == Role::Gateway { health.optional_check("broker") } else { health.check("broker") };
    let broker = Broker::connect(&settings.nats, role.name(), check, shutdown.clone()).await.map_err(unavailable)?;
    prepare(&broker, &settings).await?;
    info!(service = role.name(), nats = broker.server_version(), "started");
    let context = Context { broker, health, metrics: telemetry.metrics.clone(), shutdown };
    if role == Role::PriceIngestor {
        ingest(&context, &settings).await?;
        return Ok(Exit::Done);
    }
    let store = Store::connect(&settings.database, role.name()).await.map_err(unavailable)?;
    let pending = store.pending_migrations().await?;
    if pending > 0 {
        let message = format!("the database lacks {pending} migrations of this version: run `tickbell migrate`");
        return Err(Unavailable(message).into());
    }
    let (watched, watch) = (store.clone(), context.clone());
    tokio::spawn(async move { watched.watch(&watch.health, &watch.shutdown).await });
    serve(role, &context, store.clone(), &settings).await?;
    store.close().await;
    Ok(Exit::Done)
}

/// Settings of a service, checked as far as that can be without its servers.
pub(crate) fn read(common: &Common, role: Role, flags: Vec<Pair>) -> anyhow::Result<Settings> {
    let settings = Settings::read(common, vec![], flags)?;
    if matches!(role, Role::Gateway | Role::Notifier) {
        Links::new(&settings.links)?;
    }
    Ok(settings)
}

/// Every check that a service will have, closed, so that it is not ready between two of them.
fn checks(role: Role) -> Health {
    let health = Health::default();
    health.check(role.name());
    if !matches!(role, Role::PriceIngestor | Role::Coinnews) {
        health.check("database");
    }
    health
}

/// Makes the streams, or verifies them where somebody else owns them, and asks how the server syncs.
pub(crate) async fn prepare(broker: &Broker, settings: &Settings) -> anyhow::Result<()> {
    let topology = Topology::declared()?;
    if settings.streams.manage {
        topology::apply(broker, &topology).await?;
    } else {
        topology::verify(broker, &topology).await?;
    }
    broker.warn_unless_sync_always(&settings.nats).await;
    Ok(())
}

/// Runs a service that needs the database.
pub(crate) async fn serve(role: Role, context: &Context, store: Store, settings: &Settings) -> anyhow::Result<()> {
    let Context { broker, health, metrics, shutdown } = context.clone();
    match role {
        Role::PriceIngestor => ingest(context, settings).await?,
        Role::AlertEngine => alert_engine::run(broker, store, &health, settings.alert_engine.clone(), shutdown).await?,
        Role::HistoryWriter => history_writer::run(broker, store, &health, settings.history.clone(), shutdown).await?,
        Role::TradeSettler => {
            trade_settler::run(broker, store, &health, settings.trade_settler.clone(), shutdown).await?;
        }
        Role::Notifier => {
            let links = Links::new(&settings.links)?;
            let (settings, smtp) = (settings.notifier.clone(), settings.smtp.clone());
            notifier::run(broker, store, links, &health, settings, smtp, shutdown).await?;
        }
        Role::Gateway => {
            let links = Links::new(&settings.links)?;
            let gateway =
                gateway::Gateway::bind(settings.gateway.clone(), links, store, broker, health, metrics).await?;
            gateway.serve(shutdown).await?;
        }
        Role::Coinnews => coinnews::run(settings.coinnews.clone(), health.check(role.name()), shutdown).await?,
    }
    Ok(())
}

async fn ingest(context: &Context, settings: &Settings) -> Result<(), ServiceError> {
    let check = context.health.check(Role::PriceIngestor.name());
    let (broker, shutdown) = (context.broker.clone(), context.shutdown.clone());
    price_ingestor::run(broker, check, settings.price_ingestor.clone(), shutdown).await.map(|_| ())
}
