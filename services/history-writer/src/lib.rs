//! Ticks in, price history and candles out.
//!
//! [`candles`] folds; `session` reads the stream and writes a batch in one transaction; `partitions` keeps the months
//! of the table made ahead and drops what is older than the retention.

pub mod candles;
mod partitions;
mod session;

use platform::{
    Broker, Health, ServiceError, Shutdown,
    settings::{SettingsError, require_range},
    supervise,
};
use serde::Deserialize;
use store::Store;

/// Folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "history-writer";

/// How history is written and how long it is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many ticks are written in one transaction at most, 1 to 20000.
    pub batch: usize,
    /// Ticks older than so many days are dropped, a whole month's partition at a time; 0 keeps everything. Candles
    /// are kept.
    pub retention_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 5_000, retention_days: 0 }
    }
}

impl Settings {
    /// Refuses values out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("history.batch", self.batch, 1, 20_000)?;
        require_range("history.retention_days", self.retention_days, 0, 36_500)
    }
}

/// Writes history until shutdown. One instance works, others stand by.
pub async fn run(
    broker: Broker,
    store: Store,
    health: &Health,
    settings: Settings,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let check = health.check(SERVICE);
    store::consumer::dead_letters::register_metrics(SERVICE);
    supervise(SERVICE, &check, &shutdown, || session::run(&broker, &store, &check, &settings)).await
}
