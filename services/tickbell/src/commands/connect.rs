//! The settings, the connections and the files of a command that prints its answer and ends.

use archiver::{Target, TargetError};
use platform::{Broker, Health, Shutdown, settings::Pair};
use store::Store;

use crate::{
    exit::unavailable,
    options::GlobalOptions,
    settings::{Settings, sources},
};

/// Reads the settings. The default log level is `error`, so that the answer stands alone on the terminal.
pub(crate) fn settings(options: &GlobalOptions) -> anyhow::Result<Settings> {
    settings_with(options, vec![])
}

/// Reads the settings with flags of the command that have a key of their own.
pub(crate) fn settings_with(options: &GlobalOptions, flags: Vec<Pair>) -> anyhow::Result<Settings> {
    Ok(sources::read(options, vec![("telemetry.log", "error".into())], flags)?)
}

/// Returns the target of a command line, with the endpoint and the region of the settings.
pub(crate) fn object_target(settings: &archiver::Settings, output: &str) -> Result<Target, TargetError> {
    let mut target = settings.target();
    target.url = output.to_owned();
    Target::open(&target)
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
