//! Ticks and rules in, alerts out.
//!
//! [`book`] decides, one tick at a time; [`index`] and [`market`] are what makes that cheap; `session` reads the
//! streams, saves a batch in one transaction, and publishes what fired.

pub mod book;
pub mod index;
pub mod market;
mod session;

use platform::{
    Broker, Health, ServiceError, Shutdown,
    settings::{SettingsError, require_range},
    supervise,
};
use serde::Deserialize;
use store::Store;

/// Folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "alert-engine";

/// How the engine works.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many ticks are decided in one transaction at most, 1 to 20000.
    pub batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 5_000 }
    }
}

impl Settings {
    /// Refuses values out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("alert_engine.batch", self.batch, 1, 20_000)
    }
}

/// Decides alerts until shutdown. One instance works, others stand by.
pub async fn run(
    broker: Broker,
    store: Store,
    health: &Health,
    settings: Settings,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let check = health.check(SERVICE);
    store::consumer::dead_letters::register_metrics(SERVICE);
    metrics::counter!("tickbell_alerts_fired_total").increment(0);
    supervise(SERVICE, &check, &shutdown, || session::run(&broker, &store, &check, &settings)).await
}
