//! The silence check: a timer notifies the owners of rules whose market has not ticked for a day, once per silence.
//!
//! Only pairs are checked, because they trade around the clock. A share does not, and neither do two currencies: their market
//! is closed at weekends.
//!
//! What was notified is decided by the database, with the delivery in one transaction: the delivery's id is derived from the
//! rule and the last tick of its market. Two notifiers, or one that is restarted, therefore make one delivery.

use std::{convert::Infallible, time::Duration};

use events::{Channel, Rule, Symbol, Target, Venue, quotes::is_currency};
use platform::ServiceError;
use store::{
    Error, Store, Tx,
    notifications::{
        deliveries::Kind,
        silences::{self, SilentMarket},
    },
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tracing::info;

use crate::{
    notifications::{self, Room},
    routing::{Notification, Recipient, content},
    templates::RuleSilence,
};

/// The time without a tick after which a pair is silent.
const SILENT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// The time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// The number of rules that are notified in one transaction at most.
const BATCH: i64 = 500;

/// Checks at once and then every minute, until the database fails. Only the leader does, which spares the others the work.
pub(crate) async fn run(store: &Store, due: &Notify) -> Result<Infallible, ServiceError> {
    let mut timer = interval(CHECK_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        while notify_batch(store).await? {
            due.notify_one();
        }
    }
}

/// Notifies rules of silent markets, and returns whether there may be more.
async fn notify_batch(store: &Store) -> Result<bool, Error> {
    store.transaction(|tx| Box::pin(add_deliveries(tx))).await
}

async fn add_deliveries(tx: &mut Tx) -> Result<bool, Error> {
    let markets = silences::list_markets(tx, SILENT_FOR).await?;
    for market in markets.iter().filter(|market| trades_around_the_clock(&market.symbol)) {
        let rules = silences::list_rules(tx, market, SILENT_FOR, BATCH).await?;
        if rules.is_empty() {
            continue;
        }
        let others = silences::list_live_venues(tx, &market.symbol, SILENT_FOR).await?;
        info!(symbol = %market.symbol, rules = rules.len(), "notifying the owners of rules whose market is silent");
        let notifications = rules.into_iter().map(|rule| (notification(rule, market, &others), None)).collect();
        notifications::save(tx, notifications, Room::default()).await?;
        return Ok(true);
    }
    Ok(false)
}

fn notification(rule: Rule, market: &SilentMarket, others: &[Venue]) -> Notification {
    let about = market.source_id(rule.id);
    let recipient = Recipient::Targets(vec![Target { channel: Channel::Email, address: rule.notify.email }]);
    let silence = RuleSilence {
        rule_id: rule.id,
        symbol: rule.symbol,
        condition: rule.condition,
        venue: market.last.as_ref().map(|last| last.venue.clone()).or(rule.venue),
        last_tick_at: market.last.as_ref().map(|last| last.last_tick_at),
        quoted_by: others.to_vec(),
    };
    let content = content(&silence);
    Notification { kind: Kind::Silence, about, also_covers: Vec::new(), rule_id: Some(rule.id), content, recipient }
}

/// Returns whether somebody always trades the symbol.
fn trades_around_the_clock(symbol: &Symbol) -> bool {
    let closes = |base: &str, quote: &str| base.contains('.') || is_currency(base) && is_currency(quote);
    symbol.pair().is_some_and(|(base, quote)| !closes(base, quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_trade_around_the_clock_and_shares_and_currencies_do_not() {
        for (symbol, expected) in [
            ("BTC-USD", true),
            ("ETH-BTC", true),
            ("USDC-EUR", true),
            ("EUR-USD", false),
            ("XAU-USD", false),
            ("SPY", false),
            ("BRK.B", false),
            ("BRK.B-USD", false),
            ("BTCUSD", false),
        ] {
            let symbol = Symbol::parse(symbol).expect("a symbol");
            assert_eq!(trades_around_the_clock(&symbol), expected, "{symbol}");
        }
    }
}
