//! The settings and the connections of a command that prints its answer and ends.

use platform::{Broker, Health, Shutdown};
use store::Store;

use crate::{
    exit::unavailable,
    options::GlobalOptions,
    settings::{Settings, sources},
};

/// Reads the settings. The default log level is `error`, so that the answer stands alone on the terminal.
pub(crate) fn settings(options: &GlobalOptions) -> anyhow::Result<Settings> {
    Ok(sources::read(options, vec![("telemetry.log", "error".into())], vec![])?)
}

/// Connects to the broker, or fails at once with status 69.
pub(crate) async fn broker(settings: &Settings) -> anyhow::Result<Broker> {
    let check = Health::default().check("broker");
    Broker::connect_now(&settings.nats, "operator", check, Shutdown::new()).await.map_err(unavailable)
}

/// Connects to the database, or fails at once with status 69.
pub(crate) async fn store(settings: &Settings) -> anyhow::Result<Store> {
    let store = Store::connect_now(&settings.database, "operator").await.map_err(unavailable)?;
    store.check_schema_format().await?;
    Ok(store)
}
