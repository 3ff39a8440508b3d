//! The state that all request handlers share: the database, market data in memory, signed links, password hashing and limits.

use std::{ops::Deref, sync::Arc, time::Duration};

use platform::{Broker, signed_links::Links};
use store::{Store, trading::order_waiters::OrderWaiters};
use tick_history::TickHistory;

use crate::{
    auth::password::Passwords,
    http::download::Downloads,
    live::{clients::Clients, hub::Hub},
    market::{
        candle_pages::CandlePages, day_ranges::DayRanges, latest_prices::LatestPrices, progress_reads::ProgressReads,
    },
    settings::{Confirmation, OrdersFromAlerts},
};

/// The state that handlers share. Every layer clones what is inside of it for each request, so a clone must cost nothing.
#[derive(Clone)]
pub(crate) struct AppState(Arc<SharedState>);

impl AppState {
    pub(crate) fn new(state: SharedState) -> Self {
        Self(Arc::new(state))
    }
}

impl Deref for AppState {
    type Target = SharedState;
    fn deref(&self) -> &SharedState {
        &self.0
    }
}

/// What is in the state.
pub(crate) struct SharedState {
    pub(crate) store: Store,
    /// The ticks of any time, with those that the database has dropped.
    pub(crate) history: TickHistory,
    /// Where dead letters are read.
    pub(crate) broker: Broker,
    pub(crate) order_waiters: OrderWaiters,
    pub(crate) links: Links,
    pub(crate) confirmation: Confirmation,
    pub(crate) orders_from_alerts: OrdersFromAlerts,
    /// The time that a request may take.
    pub(crate) request_time: Duration,
    pub(crate) passwords: Passwords,
    /// The number of days that a session lasts.
    pub(crate) session_days: u16,
    /// The questions of requests about how far markets are.
    pub(crate) progress: Arc<ProgressReads>,
    pub(crate) latest_prices: Arc<LatestPrices>,
    /// The days of markets that clients are shown with each price.
    pub(crate) day_ranges: DayRanges,
    /// Pages of candles that have closed.
    pub(crate) candle_pages: Arc<CandlePages>,
    /// Where clients of live streams get their events from.
    pub(crate) hub: Arc<Hub>,
    /// The places of clients of live streams.
    pub(crate) clients: Arc<Clients>,
    pub(crate) downloads: Downloads,
    /// The number of proxies in front of the gateway.
    pub(crate) trusted_proxies: usize,
}
