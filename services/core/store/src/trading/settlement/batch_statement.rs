//! A batch of the settler is written as one statement.

use events::{OutboundMessage, RejectReason, Timestamp};
use ledger::rows::{Changes, OrderState, PriceRow};
use market_data::MarketTicks;
use rust_decimal::Decimal;
use sqlx::types::Json;

use crate::{
    Error, bigint,
    consumer::{
        batch::{BatchStatement, column},
        position::Advance,
    },
    smallint,
};

/// Writes the statement for a batch.
pub(super) fn statement(
    service: &'static str,
    advances: Vec<Advance>,
    changes: &Changes,
    events: &[OutboundMessage],
) -> Result<BatchStatement, Error> {
    let mut statement = Statement(BatchStatement::new(advances));
    if !changes.postings.is_empty() {
        statement.add_postings(changes);
    }
    if !changes.orders.is_empty() {
        statement.add_orders(changes);
    }
    if !changes.prices.is_empty() {
        statement.add_prices(&changes.prices);
    }
    if !changes.markets.is_empty() {
        statement.add_markets(&changes.markets);
    }
    let Statement(mut statement) = statement;
    statement.add_events(service, events)?;
    fence(&mut statement, changes.orders.len());
    Ok(statement)
}

/// Makes the statement fail also when another instance has decided one of the orders, and when an order has no row: its user
/// would not find it, and the settler could not restore it.
fn fence(statement: &mut BatchStatement, orders: usize) {
    statement.fence(|query| {
        if orders > 0 {
            query.push(" AND (SELECT count(*) FROM decided JOIN orders ON orders.id = decided.order_id");
            query.push(" AND orders.user_id = decided.user_id) = ").push_bind(bigint(orders as u64));
        }
    });
}

/// The statement that is being written.
struct Statement(BatchStatement);

impl Statement {
    /// Adds the opened accounts, the postings and their transfers.
    fn add_postings(&mut self, changes: &Changes) {
        let Changes { accounts, postings, transfers, .. } = changes;
        self.0.insert("opened", "accounts (id, kind, user_id, asset, hash)", "", |columns| {
            columns
                .push_bind(column(accounts, |account| account.id))
                .push_bind(column(accounts, |account| &*account.kind))
                .push_bind(column(accounts, |account| account.user_id))
                .push_bind(column(accounts, |account| account.asset.as_str()))
                .push_bind(column(accounts, |account| account.hash.as_slice()));
        });
        self.0.insert("posted", "postings (id, kind, user_id, cause, at, previous_hash, hash)", "", |columns| {
            columns
                .push_bind(column(postings, |posting| posting.id))
                .push_bind(column(postings, |posting| &*posting.kind))
                .push_bind(column(postings, |posting| posting.user_id))
                .push_bind(column(postings, |posting| posting.cause))
                .push_bind(column(postings, |posting| posting.at.datetime()))
                .push_bind(column(postings, |posting| posting.previous_hash.as_slice()))
                .push_bind(column(postings, |posting| posting.hash.as_slice()));
        });
        let into = "transfers (posting_id, number, asset, from_account, to_account, amount, hash)";
        self.0.insert("transferred", into, "", |columns| {
            columns
                .push_bind(column(transfers, |transfer| transfer.posting_id))
                .push_bind(column(transfers, |transfer| transfer.number))
                .push_bind(column(transfers, |transfer| transfer.asset.as_str()))
                .push_bind(column(transfers, |transfer| transfer.from_account))
                .push_bind(column(transfers, |transfer| transfer.to_account))
                .push_bind(column(transfers, |transfer| transfer.amount))
                .push_bind(column(transfers, |transfer| transfer.hash.as_slice()));
        });
    }

    /// Adds the states of orders and the trades of those that are filled.
    fn add_orders(&mut self, changes: &Changes) {
        let Changes { orders, trades, .. } = changes;
        let into = "trades (order_id, posting_id, user_id, symbol, side, size, price, quote_amount, fee, fee_bp,
                            tick_id, tick_sequence, tick_index, tick_price, tick_at, at, hash)";
        self.0.insert("traded", into, "", |columns| {
            columns
                .push_bind(column(trades, |trade| trade.order_id))
                .push_bind(column(trades, |trade| trade.posting_id))
                .push_bind(column(trades, |trade| trade.user_id))
                .push_bind(column(trades, |trade| trade.symbol.as_str()))
                .push_bind(column(trades, |trade| &*trade.side))
                .push_bind(column(trades, |trade| trade.size))
                .push_bind(column(trades, |trade| trade.price))
                .push_bind(column(trades, |trade| trade.quote_amount))
                .push_bind(column(trades, |trade| trade.fee))
                .push_bind(column(trades, |trade| trade.fee_bp))
                .push_bind(column(trades, |trade| trade.tick_id.as_str()))
                .push_bind(column(trades, |trade| trade.tick_sequence))
                .push_bind(column(trades, |trade| trade.tick_index))
                .push_bind(column(trades, |trade| trade.tick_price))
                .push_bind(column(trades, |trade| trade.tick_at.datetime()))
                .push_bind(column(trades, |trade| trade.at.datetime()))
                .push_bind(column(trades, |trade| trade.hash.as_slice()));
        });
        let into = "order_states (order_id, user_id, revision, status, reason, queue_rank, held_asset, held,
                                  awaiting_alert_rule_id, awaiting_alert_until, tick_sequence, updated_at)";
        let again = "ON CONFLICT (order_id) DO UPDATE SET revision = EXCLUDED.revision, status = EXCLUDED.status,
            reason = EXCLUDED.reason, queue_rank = EXCLUDED.queue_rank, held_asset = EXCLUDED.held_asset, held = EXCLUDED.held,
            awaiting_alert_rule_id = EXCLUDED.awaiting_alert_rule_id,
            awaiting_alert_until = EXCLUDED.awaiting_alert_until,
            tick_sequence = EXCLUDED.tick_sequence, updated_at = EXCLUDED.updated_at
            WHERE order_states.status = 'open' AND order_states.revision < EXCLUDED.revision RETURNING order_id, user_id";
        let held_asset = |order: &OrderState| order.held.as_ref().map(|(asset, _)| asset.to_string());
        let until = |order: &OrderState| order.awaiting_alert?.expires_at.map(Timestamp::datetime);
        self.0.insert("decided", into, again, |columns| {
            columns
                .push_bind(column(orders, |order| order.order_id))
                .push_bind(column(orders, |order| order.user_id))
                .push_bind(column(orders, |order| order.revision))
                .push_bind(column(orders, |order| order.status.as_str()))
                .push_bind(column(orders, |order| order.reason.map(RejectReason::as_str)))
                .push_bind(column(orders, |order| order.queue_rank))
                .push_bind(column(orders, held_asset))
                .push_bind(column(orders, |order| order.held.as_ref().map_or(Decimal::ZERO, |(_, held)| *held)))
                .push_bind(column(orders, |order| order.awaiting_alert.map(|alert| alert.rule_id)))
                .push_bind(column(orders, until))
                .push_bind(column(orders, |order| bigint(order.tick_sequence)))
                .push_bind(column(orders, |order| order.updated_at.datetime()));
        });
    }

    fn add_prices(&mut self, prices: &[PriceRow]) {
        let newer = "ON CONFLICT (symbol, venue) DO UPDATE SET tick_id = EXCLUDED.tick_id, price = EXCLUDED.price, at = EXCLUDED.at,
            sequence = EXCLUDED.sequence, index = EXCLUDED.index";
        let into = "settlement_prices (symbol, venue, is_primary, tick_id, price, at, sequence, index)";
        self.0.insert("priced", into, newer, |columns| {
            columns
                .push_bind(column(prices, |price| price.symbol.as_str()))
                .push_bind(column(prices, |price| price.venue.as_str()))
                .push_bind(column(prices, |price| price.is_primary))
                .push_bind(column(prices, |price| price.tick_id.as_str()))
                .push_bind(column(prices, |price| price.price.decimal()))
                .push_bind(column(prices, |price| price.at.datetime()))
                .push_bind(column(prices, |price| bigint(price.position.sequence)))
                .push_bind(column(prices, |price| smallint(price.position.index)));
        });
    }

    fn add_markets(&mut self, markets: &[MarketTicks]) {
        let newer = "ON CONFLICT (symbol, venue) DO UPDATE SET at = EXCLUDED.at, ids = EXCLUDED.ids";
        self.0.insert("ticked", "settlement_markets (symbol, venue, at, ids)", newer, |columns| {
            columns
                .push_bind(column(markets, |market| market.symbol.as_str()))
                .push_bind(column(markets, |market| market.venue.as_str()))
                .push_bind(column(markets, |market| market.at.datetime()))
                .push_bind(column(markets, |market| Json(&market.ids)));
        });
    }
}
