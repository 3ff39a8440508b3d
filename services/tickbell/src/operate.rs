//! The operator's commands: short, against running servers.

pub(crate) mod accounts;
mod client;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod healthcheck;
pub(crate) mod ledger;
pub(crate) mod migrate;
pub(crate) mod orders;
pub(crate) mod person;
pub(crate) mod smoke;
pub(crate) mod status;
pub(crate) mod streams;

use platform::{Broker, Health, Shutdown};
use store::Store;

use crate::{cli::Common, exit::unavailable, settings::Settings};

/// Settings of a command that asks and ends; its own log is quiet unless told otherwise.
fn settings(common: &Common) -> anyhow::Result<Settings> {
    let settings = Settings::read(common, vec![("telemetry.log", "error".into())], vec![])?;
    Ok(settings)
}

async fn broker(settings: &Settings) -> anyhow::Result<Broker> {
    let check = Health::default().check("broker");
    Broker::connect_now(&settings.nats, "operator", check, Shutdown::new()).await.map_err(unavailable)
}

async fn store(settings: &Settings) -> anyhow::Result<Store> {
    Store::connect_now(&settings.database, "operator").await.map_err(unavailable)
}
