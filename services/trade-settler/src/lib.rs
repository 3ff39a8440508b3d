//! The trade-settler: reads orders and ticks, writes trades and the ledger.
//!
//! [`ledger::order_book`] decides one event at a time; `consumer_run` reads the streams in one order, saves each batch in one
//! transaction and publishes what has become of orders. [`verify`] runs the audit of the ledger.

mod consumer_run;
mod input;
mod redelivery_window;
pub mod verify;

use std::time::Duration;

use events::Period;
use ledger::{
    amounts::Rates,
    order_book::{Policy, PriceAge},
};
use market_data::MaxAhead;
use platform::{
    Broker, Check, Health, ServiceError, Shutdown,
    runtime::error::error_chain,
    settings::{SettingsError, require_range},
    supervise,
};
use serde::Deserialize;
use store::{Error, Store};
use tracing::{error, warn};

/// The name of the folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "trade-settler";

/// The time against which the age of a price is measured, as a setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceAgeSetting {
    /// The time at which the broker stored the order, or the tick that fills a resting order.
    #[default]
    Stored,
    /// The time of the newest tick of any symbol.
    Event,
}

/// The settings of the trade-settler.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The fee of a trade, in basis points (hundredths of a percent) of its value, 0 to 1000.
    pub fee_bp: u32,
    /// The spread between the prices of a market buy and a market sell, in basis points of the price, 0 to 2000.
    pub spread_bp: u32,
    /// The slippage beyond the latest price that the funds of a market order must cover, in basis points, 0 to 5000 and at
    /// least half the spread.
    pub slippage_bp: u32,
    /// The age in seconds beyond which a price fills nothing, 1 to 86400.
    pub max_price_age_seconds: u32,
    /// The time against which that age is measured; `event` is for replays of recorded days.
    pub price_age: PriceAgeSetting,
    /// The number of orders that one user may have open, 1 to 100000.
    pub max_open_orders: usize,
    /// The approximate number of orders and ticks per transaction, 1 to 20000.
    pub batch: usize,
    /// The time between two audits of the whole ledger in minutes, 0 to 10080; 0 turns them off.
    pub verify_every_minutes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fee_bp: 10,
            spread_bp: 10,
            slippage_bp: 100,
            max_price_age_seconds: 60,
            price_age: PriceAgeSetting::Stored,
            max_open_orders: 1_000,
            batch: 5_000,
            verify_every_minutes: 60,
        }
    }
}

impl Settings {
    /// Returns an error when a value is out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("trade_settler.fee_bp", self.fee_bp, 0, 1_000)?;
        require_range("trade_settler.spread_bp", self.spread_bp, 0, 2_000)?;
        require_range("trade_settler.slippage_bp", self.slippage_bp, self.spread_bp.div_ceil(2), 5_000)?;
        require_range("trade_settler.max_price_age_seconds", self.max_price_age_seconds, 1, 86_400)?;
        require_range("trade_settler.max_open_orders", self.max_open_orders, 1, 100_000)?;
        require_range("trade_settler.batch", self.batch, 1, 20_000)?;
        require_range("trade_settler.verify_every_minutes", self.verify_every_minutes, 0, 10_080)
    }

    /// Returns the policy of the order book.
    pub fn policy(&self) -> Policy {
        Policy {
            rates: Rates { fee_bp: self.fee_bp, spread_bp: self.spread_bp, slippage_bp: self.slippage_bp },
            max_price_age: Period::seconds(self.max_price_age_seconds),
            price_age: match self.price_age {
                PriceAgeSetting::Stored => PriceAge::Stored,
                PriceAgeSetting::Event => PriceAge::Event,
            },
            max_open_orders: self.max_open_orders,
        }
    }
}

/// Settles orders until shutdown, at ticks that are not further ahead than `max_ahead`. One instance is the leader, others are standbys.
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
    verify::register_metrics();
    if settings.price_age == PriceAgeSetting::Event {
        warn!(
            service = SERVICE,
            "trade_settler.price_age = \"event\": orders fill at prices of any age, as long as no symbol has a newer one; this \
             is for replays of recorded days, remove it for a live market"
        );
    }
    let every = Duration::from_secs(60 * settings.verify_every_minutes);
    let settle = async {
        let settled = supervise(SERVICE, &check, &shutdown, || {
            consumer_run::run(&broker, &store, &check, &settings, max_ahead, &shutdown)
        });
        match settled.await {
            Err(fault) if Error::is_broken_constraint(&fault) => {
                stay_stopped(&check, &fault, &shutdown).await;
                Ok(())
            }
            ended => ended,
        }
    };
    let verify = async {
        match settings.verify_every_minutes {
            0 => shutdown.cancelled().await,
            _ => verify::run_periodically(&store, every, &shutdown).await,
        }
    };
    tokio::select! {
        ended = settle => ended,
        () = verify => Ok(()),
    }
}

/// Settles nothing more until shutdown. The ledger has refused what was decided, and again after the state was restored from
/// it: nobody knows which of both is wrong, and what is decided from either may be. The process goes on, so that the metric
/// is read, and so that `tickbell up` serves everything else.
async fn stay_stopped(check: &Check, fault: &ServiceError, shutdown: &Shutdown) {
    metrics::gauge!("tickbell_settlement_stopped").set(1);
    check.failing(format!("settling is stopped, because the ledger refused a batch twice: {}", error_chain(fault)));
    error!(
        service = SERVICE,
        error = error_chain(fault),
        "settling is stopped, because the ledger refused a batch twice; run `tickbell ledger verify`, and restart the service \
         when the cause is mended"
    );
    shutdown.cancelled().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_of_range_setting_is_named_with_its_value_and_range() {
        Settings::default().validate().expect("settings");
        let said = |settings: Settings| settings.validate().expect_err("out of range").to_string();
        let fee = said(Settings { fee_bp: 1_001, ..Settings::default() });
        assert_eq!(fee, "trade_settler.fee_bp = 1001 is out of range: allowed is 0 to 1000");
        let slippage = said(Settings { spread_bp: 301, slippage_bp: 150, ..Settings::default() });
        assert_eq!(slippage, "trade_settler.slippage_bp = 150 is out of range: allowed is 151 to 5000");
    }
}
