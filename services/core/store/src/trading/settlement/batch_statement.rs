//! A batch is written as one statement, which is a transaction by itself. Every further round trip would delay all
//! orders of the batch and those that arrive meanwhile.

use events::{OutboundMessage, RejectReason, Timestamp};
use ledger::rows::{Changes, OrderState, PriceRow};
use market_data::MarketTicks;
use rust_decimal::Decimal;
use sqlx::{PgExecutor, Postgres, QueryBuilder, query_builder::Separated, types::Json};

use crate::{
    Error, bigint,
    consumer::position::{self, Advance},
    outbox, smallint,
};

/// The statement that is being written, with its bound values.
pub(super) struct Statement {
    query: QueryBuilder<Postgres>,
    advances: Vec<Advance>,
}

impl Statement {
    /// Writes the statement for a batch. The database checks its constraints in triggers that run when all rows are
    /// written.
    pub(super) fn new(
        service: &'static str,
        advances: Vec<Advance>,
        changes: &Changes,
        events: &[OutboundMessage],
    ) -> Result<Self, Error> {
        let mut statement = Self { query: QueryBuilder::new("WITH moved AS ("), advances };
        position::push(&mut statement.query, &statement.advances);
        statement.query.push(")");
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
        if !events.is_empty() {
            statement.query.push(", queued AS (");
            outbox::push_together(&mut statement.query, service, events)?;
            statement.query.push(")");
        }
        statement.add_fence(changes.orders.len());
        Ok(statement)
    }

    pub(super) async fn execute(mut self, executor: impl PgExecutor<'_>) -> Result<(), Error> {
        match self.query.build().execute(executor).await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(FENCED) => {
                Err(Error::fenced(&self.advances))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds the opened accounts, the postings and their transfers.
    fn add_postings(&mut self, changes: &Changes) {
        let Changes { accounts, postings, transfers, .. } = changes;
        self.insert("opened", "accounts (id, kind, user_id, asset, hash)", "", |columns| {
            columns
                .push_bind(column(accounts, |account| account.id))
                .push_bind(column(accounts, |account| &*account.kind))
                .push_bind(column(accounts, |account| account.user_id))
                .push_bind(column(accounts, |account| account.asset.as_str()))
                .push_bind(column(accounts, |account| account.hash.as_slice()));
        });
        self.insert("posted", "postings (id, kind, user_id, cause, at, previous_hash, hash)", "", |columns| {
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
        self.insert("transferred", into, "", |columns| {
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
        self.insert("traded", into, "", |columns| {
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
        self.insert("decided", into, again, |columns| {
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
        self.insert("priced", into, newer, |columns| {
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
        self.insert("ticked", "settlement_markets (symbol, venue, at, ids)", newer, |columns| {
            columns
                .push_bind(column(markets, |market| market.symbol.as_str()))
                .push_bind(column(markets, |market| market.venue.as_str()))
                .push_bind(column(markets, |market| market.at.datetime()))
                .push_bind(column(markets, |market| Json(&market.ids)));
        });
    }

    /// Makes the statement fail when another instance has advanced a consumer meanwhile or has decided one of the orders,
    /// and when an order has no row: its user would not find it, and the settler could not restore it.
    fn add_fence(&mut self, orders: usize) {
        let consumers = self.advances.len();
        self.query.push(" SELECT fence((SELECT count(*) FROM moved) = ").push_bind(bigint(consumers as u64));
        if orders > 0 {
            self.query.push(" AND (SELECT count(*) FROM decided JOIN orders ON orders.id = decided.order_id");
            self.query.push(" AND orders.user_id = decided.user_id) = ").push_bind(bigint(orders as u64));
        }
        self.query.push(")");
    }

    /// Adds one part of the statement: rows that are bound as one array for each column.
    fn insert(
        &mut self,
        name: &str,
        into: &str,
        on_conflict: &str,
        bind: impl FnOnce(&mut Separated<'_, Postgres, &str>),
    ) {
        self.query.push(format_args!(", {name} AS (INSERT INTO {into} SELECT * FROM unnest("));
        bind(&mut self.query.separated(", "));
        self.query.push(format_args!(") {on_conflict})"));
    }
}

/// The SQLSTATE serialization_failure, which at this isolation level only the function `fence` raises.
const FENCED: &str = "40001";

fn column<'a, R, V>(rows: &'a [R], value: impl Fn(&'a R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
