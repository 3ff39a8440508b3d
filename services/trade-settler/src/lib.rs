//! Orders and ticks in, trades and the ledger out.
//!
//! [`book`] decides, one event at a time; [`queue`] is what makes a tick cheap, [`amounts`] what makes it exact, [`ledger`]
//! what is posted and [`seal`] what makes a changed row visible. `session` reads the streams in one order, saves a batch in
//! one transaction, and publishes what has become of orders. [`audit`] re-computes the ledger from its rows.

pub mod amounts;
pub mod audit;
pub mod book;
pub mod ledger;
pub mod queue;
pub mod seal;
mod session;
pub mod verify;

use std::time::Duration;

use events::Period;
use platform::{
    Broker, Health, ServiceError, Shutdown,
    settings::{SettingsError, require_range},
    supervise,
};
use serde::Deserialize;
use store::Store;

use crate::{amounts::Rates, book::Policy};

/// Folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "trade-settler";

/// How orders are settled.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What a trade is charged, in basis points (hundredths of a percent) of its worth, 0 to 1000.
    pub fee_bp: u32,
    /// Between what a market buy pays and a market sell gets, in basis points of the price, 0 to 2000.
    pub spread_bp: u32,
    /// How much further than the latest price funds of a market order must suffice, in basis points, 0 to 5000 and at least
    /// half the spread.
    pub slippage_bp: u32,
    /// A price that is older than this fills nothing, by the newest tick of any symbol, 1 to 86400.
    pub max_price_age_seconds: u32,
    /// How many orders of one user may wait, 1 to 100000.
    pub max_open_orders: usize,
    /// How many orders and ticks are decided in one transaction, about, 1 to 20000.
    pub batch: usize,
    /// How often the whole ledger is verified, 0 to 10080; 0 is never.
    pub verify_every_minutes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fee_bp: 10,
            spread_bp: 10,
            slippage_bp: 100,
            max_price_age_seconds: 60,
            max_open_orders: 1_000,
            batch: 5_000,
            verify_every_minutes: 60,
        }
    }
}

impl Settings {
    /// Refuses values out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("trade_settler.fee_bp", self.fee_bp, 0, 1_000)?;
        require_range("trade_settler.spread_bp", self.spread_bp, 0, 2_000)?;
        require_range("trade_settler.slippage_bp", self.slippage_bp, self.spread_bp.div_ceil(2), 5_000)?;
        require_range("trade_settler.max_price_age_seconds", self.max_price_age_seconds, 1, 86_400)?;
        require_range("trade_settler.max_open_orders", self.max_open_orders, 1, 100_000)?;
        require_range("trade_settler.batch", self.batch, 1, 20_000)?;
        require_range("trade_settler.verify_every_minutes", self.verify_every_minutes, 0, 10_080)
    }

    /// The same as the core has it.
    pub fn policy(&self) -> Policy {
        Policy {
            rates: Rates { fee_bp: self.fee_bp, spread_bp: self.spread_bp, slippage_bp: self.slippage_bp },
            max_price_age: Period::seconds(self.max_price_age_seconds),
            max_open_orders: self.max_open_orders,
        }
    }
}

/// Settles until shutdown. One instance works, others stand by.
pub async fn run(
    broker: Broker,
    store: Store,
    health: &Health,
    settings: Settings,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let check = health.check(SERVICE);
    store::consumer::dead_letters::register_metrics(SERVICE);
    session::register_metrics();
    verify::register_metrics();
    let every = Duration::from_secs(60 * settings.verify_every_minutes);
    let settle = supervise(SERVICE, &check, &shutdown, || session::run(&broker, &store, &check, &settings, &shutdown));
    let verify = async {
        match settings.verify_every_minutes {
            0 => shutdown.cancelled().await,
            _ => verify::regularly(&store, every, &shutdown).await,
        }
    };
    tokio::select! {
        ended = settle => ended,
        () = verify => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_setting_is_named_with_its_value_and_what_is_allowed() {
        Settings::default().validate().expect("settings");
        let said = |settings: Settings| settings.validate().expect_err("out of range").to_string();
        let fee = said(Settings { fee_bp: 1_001, ..Settings::default() });
        assert_eq!(fee, "trade_settler.fee_bp = 1001 is out of range: allowed is 0 to 1000");
        let slippage = said(Settings { spread_bp: 301, slippage_bp: 150, ..Settings::default() });
        assert_eq!(slippage, "trade_settler.slippage_bp = 150 is out of range: allowed is 151 to 5000");
    }
}
