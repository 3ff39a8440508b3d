//! The alert-engine: reads ticks and changes of rules, publishes alerts.
//!
//! [`rules::Engine`] decides one event at a time; `consumer_run` reads the streams, saves each batch in one transaction and
//! publishes the alerts. `late_verdicts` judges gaps from the history once their ticks are known.

mod consumer_run;
mod late_verdicts;

use market_data::MaxAhead;
use platform::{
    Broker, Health, ServiceError, Shutdown,
    settings::{SettingsError, require_range},
    supervise,
};
use serde::Deserialize;
use store::Store;

/// The name of the folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "alert-engine";

/// The settings of the alert-engine.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The number of ticks after which a transaction takes no further page of them, 1 to 20000.
    pub batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 10_000 }
    }
}

impl Settings {
    /// Returns an error when a value is out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("alert_engine.batch", self.batch, 1, 20_000)
    }
}

/// Evaluates rules until shutdown, against ticks that are not further ahead than `max_ahead`. One instance is the leader, others are standbys.
pub async fn run(
    broker: Broker,
    store: Store,
    health: &Health,
    settings: Settings,
    max_ahead: MaxAhead,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let check = health.check(SERVICE);
    store::consumer::dead_letters::register_metrics(SERVICE);
    consumer_run::register_metrics();
    supervise(SERVICE, &check, &shutdown, || consumer_run::run(&broker, &store, &check, &settings, max_ahead)).await
}
