//! The history-writer: reads ticks, writes the price history and candles.
//!
//! `consumer_run` reads the stream and saves each batch in one transaction. `partitions` creates the monthly partitions of the
//! table ahead of time and drops those older than the retention. Candles are folded by [`market_data::candles`].

mod consumer_run;
mod partitions;

use market_data::MaxAhead;
use platform::{
    Broker, Health, ServiceError, Shutdown,
    settings::{SettingsError, one_of, require_range},
    supervise,
};
use serde::Deserialize;
use store::Store;

/// The name of the folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "history-writer";

/// The settings of the history-writer.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The number of ticks after which a transaction takes no further page of them, 1 to 20000.
    pub batch: usize,
    /// The number of days after which ticks are dropped, a whole month's partition at a time, 0 to 36500; 0 keeps all ticks.
    /// Candles are never dropped.
    pub retention_days: u32,
    /// Whether a month of ticks is dropped only when the archive has all of them.
    pub archive: ArchiveRule,
}

/// Whether a month of ticks is dropped only when the archive has all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ArchiveRule {
    /// A month is dropped by its age alone.
    #[default]
    Off,
    /// A month stays until the archiver has found each of its days to be whole.
    Required,
}

impl TryFrom<String> for ArchiveRule {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("off", Self::Off), ("required", Self::Required)])
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 20_000, retention_days: 0, archive: ArchiveRule::default() }
    }
}

impl Settings {
    /// Returns an error when a value is out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("history.batch", self.batch, 1, 20_000)?;
        require_range("history.retention_days", self.retention_days, 0, 36_500)
    }
}

/// Writes history until shutdown, of ticks that are not further ahead than `max_ahead`. `archive` is the address of the archive, which
/// must have a month before it is dropped where the settings say so. One instance is the leader, others are standbys.
pub async fn run(
    broker: Broker,
    store: Store,
    health: &Health,
    settings: Settings,
    archive: String,
    max_ahead: MaxAhead,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let check = health.check(SERVICE);
    store::consumer::dead_letters::register_metrics(SERVICE);
    consumer_run::register_metrics();
    let work = || consumer_run::run(&broker, &store, &check, (&settings, &archive), max_ahead);
    supervise(SERVICE, &check, &shutdown, work).await
}
