//! A process that runs one service: it reads its settings, connects, announces itself, serves, and drains on shutdown.

use events::streams::Topology;
use platform::{
    Broker, Check, Health,
    broker::topology::{self, comparison::Uses},
    http::admin,
    runtime::error::error_chain,
    settings::Pair,
    telemetry,
};
use store::Store;
use tracing::{info, warn};

use crate::{
    exit::{Exit, Unavailable, unavailable},
    options::GlobalOptions,
    services::{Context, Run, Service},
    settings::{Settings, sources},
    signals, version,
};

/// The check that the database answers.
pub(crate) const DATABASE: &str = "database";
/// The check that the database takes writes.
pub(crate) const DATABASE_WRITES: &str = "database_writes";

/// Runs one service until it has finished or is asked to stop.
pub(crate) async fn run(options: &GlobalOptions, service: &'static Service, flags: Vec<Pair>) -> anyhow::Result<Exit> {
    let settings = settings(options, service, flags)?;
    let telemetry = telemetry::init(version::program(service.name), &settings.telemetry)?;
    let shutdown = signals::shutdown(service.drain(&settings))?;
    let health = health(service, &settings);
    admin::start(settings.admin.listen, health.clone(), telemetry.metrics.clone()).await?;
    let context = Context { settings, health, metrics: telemetry.metrics.clone(), shutdown };
    match service.run {
        Run::Alone(run) => run(context).await?,
        Run::WithDatabaseAlone(run) => {
            let store = connect_store(service, &context).await?;
            info!(service = service.name, "started");
            run(context, store.clone()).await?;
            store.close().await;
        }
        Run::WithDatabase(run) | Run::WithOptionalBroker(run) => {
            let broker = connect_broker(service, &context).await?;
            let store = connect_store(service, &context).await?;
            run(context, broker, store.clone()).await?;
            store.close().await;
        }
        Run::WithOptionalDatabase { needs_database, run } => {
            let broker = connect_broker(service, &context).await?;
            let store = match needs_database(&context.settings) {
                true => Some(connect_store(service, &context).await?),
                false => None,
            };
            run(context, broker, store.clone()).await?;
            if let Some(store) = store {
                store.close().await;
            }
        }
    }
    Ok(Exit::Done)
}

/// Reads the settings of a service and checks all that can be checked without its servers.
pub(crate) fn settings(options: &GlobalOptions, service: &Service, flags: Vec<Pair>) -> anyhow::Result<Settings> {
    let settings = sources::read(options, vec![], flags)?;
    (service.require)(&settings)?;
    Ok(settings)
}

/// Registers the checks that every service has before the admin server starts: a check that came later would let
/// `/readyz` answer 200 in between.
fn health(service: &Service, settings: &Settings) -> Health {
    let health = Health::default();
    health.check(service.name);
    if service.run.needs_database(settings) {
        check_answers(&health, service.run);
        check_writes(&health, service.run);
    }
    health
}

async fn connect_broker(service: &Service, context: &Context) -> anyhow::Result<Broker> {
    let Context { settings, health, shutdown, .. } = context;
    let check = match service.run {
        Run::WithOptionalBroker(_) => health.optional_check("broker"),
        Run::Alone(_) | Run::WithDatabase(_) | Run::WithDatabaseAlone(_) | Run::WithOptionalDatabase { .. } => {
            health.check("broker")
        }
    };
    let broker = Broker::connect(&settings.nats, service.name, check, shutdown.clone()).await.map_err(unavailable)?;
    prepare_streams(&broker, settings, &[service]).await?;
    info!(service = service.name, nats = broker.server_version(), "started");
    Ok(broker)
}

async fn connect_store(service: &Service, context: &Context) -> anyhow::Result<Store> {
    let store = Store::connect(&context.settings.database, service.name).await.map_err(unavailable)?;
    let pending = store.pending_migrations().await?;
    if pending > 0 {
        let message = format!("the database lacks {pending} migrations of this version: run `tickbell migrate`");
        return Err(Unavailable(message).into());
    }
    let (answers, writes) = (check_answers(&context.health, service.run), check_writes(&context.health, service.run));
    watch_database(&store, context, answers, writes);
    Ok(store)
}

/// Keeps the checks of the database up to date in the background until shutdown.
pub(crate) fn watch_database(store: &Store, context: &Context, answers: Check, writes: Check) {
    let (store, shutdown) = (store.clone(), context.shutdown.clone());
    tokio::spawn(async move { store.watch(&answers, &writes, &shutdown).await });
}

/// Adds the check that the database answers.
fn check_answers(health: &Health, run: Run) -> Check {
    match run {
        Run::WithOptionalDatabase { .. } => health.optional_check(DATABASE),
        Run::Alone(_) | Run::WithDatabase(_) | Run::WithDatabaseAlone(_) | Run::WithOptionalBroker(_) => {
            health.check(DATABASE)
        }
    }
}

/// Adds the check that the database takes writes, without which queries can still be answered.
fn check_writes(health: &Health, run: Run) -> Check {
    match run {
        Run::WithOptionalBroker(_) | Run::WithOptionalDatabase { .. } => health.optional_check(DATABASE_WRITES),
        Run::Alone(_) | Run::WithDatabase(_) | Run::WithDatabaseAlone(_) => health.check(DATABASE_WRITES),
    }
}

/// Creates or updates the streams where these services manage them, verifies what the services use of them, and compares
/// that from then on. Warns when the broker may lose acknowledged messages in a power cut.
pub(crate) async fn prepare_streams(broker: &Broker, settings: &Settings, services: &[&Service]) -> anyhow::Result<()> {
    let topology = Topology::declared()?;
    let uses = Uses {
        publishes: services.iter().flat_map(|service| service.publishes).copied().collect(),
        consumers: services.iter().flat_map(|service| service.consumers).copied().collect(),
    };
    let mut applied = Ok(());
    if settings.streams.manage {
        applied = topology::apply(broker, &topology).await;
        broker.allow_stream_management();
    }
    match (applied, topology::verify(broker, &topology, &uses).await) {
        (Ok(()), verified) => verified?,
        (Err(error), Err(_)) => return Err(error.into()),
        (Err(error), Ok(())) => {
            warn!(
                error = error_chain(&error),
                "cannot update the streams; what this process uses of them is as declared"
            );
        }
    }
    tokio::spawn(topology::watch(broker.clone(), topology, uses));
    broker.warn_unless_sync_always(&settings.nats).await;
    Ok(())
}
