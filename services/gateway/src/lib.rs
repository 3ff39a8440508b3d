//! The HTTP API: alerts, prices, orders and users, and the dashboard that calls it. It decides nothing: what is requested becomes a row and an event in one
//! transaction, and the event is relayed to the broker.

mod auth;
mod compat;
mod dashboard;
mod http;
mod live;
mod market;
mod outbox_relay;
mod pages;
mod request;
mod routes;
mod settings;
mod state;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use market_data::MaxAhead;
use platform::{Broker, Check, Health, ServiceError, Shutdown, signed_links::Links, telemetry::Metrics};
use store::{Store, notifications::outages, trading::order_waiters::OrderWaiters};
use tick_history::TickHistory;
use tokio::net::TcpListener;
use tracing::{info, warn};
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    auth::password::Passwords,
    http::{
        download::{Downloads, register_metrics as register_download_metrics},
        middleware::{close_when_draining, with_middleware},
    },
    live::{
        clients::Clients,
        hub::{Hub, HubOptions},
    },
    market::{
        candle_pages::CandlePages, day_changes, day_ranges::DayRanges, latest_prices::LatestPrices,
        progress_reads::ProgressReads, streams::Memory,
    },
    state::{AppState, SharedState},
};

pub use live::settings::Settings as StreamSettings;
pub use settings::{Confirmation, OrdersFromAlerts, Settings};

/// A gateway that has bound its address and does not serve yet.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    lame_duck: Duration,
    drain: Duration,
    store: Store,
    order_waiters: OrderWaiters,
    progress: Arc<ProgressReads>,
    latest_prices: Arc<LatestPrices>,
    candle_pages: Arc<CandlePages>,
    max_ahead: MaxAhead,
    hub: Arc<Hub>,
    clients: Arc<Clients>,
    max_connections: usize,
    broker: Broker,
    check: Check,
    mail: Check,
}

impl Gateway {
    /// Binds the address, so that a caller knows the port before anything is served. No tick is shown that is further ahead than
    /// `max_ahead`. Fails permanently when a setting is
    /// out of range or the address is taken.
    pub async fn bind(
        settings: Settings,
        max_ahead: MaxAhead,
        links: Links,
        history: TickHistory,
        broker: Broker,
        health: Health,
        metrics: Metrics,
    ) -> Result<Self, ServiceError> {
        settings.validate().map_err(|error| ServiceError::permanent("settings", error))?;
        let address_taken =
            |error| ServiceError::permanent(format!("listen on {} (setting gateway.listen)", settings.listen), error);
        let listener = TcpListener::bind(settings.listen).await.map_err(address_taken)?;
        let address = listener.local_addr().map_err(address_taken)?;
        let store = history.store().clone();
        register_download_metrics();
        let check = health.check("gateway");
        // Without mail everything else still works, and all gateways would be unready at once.
        let mail = health.optional_check(outages::CHECK);
        let (order_waiters, progress) = (OrderWaiters::default(), Arc::<ProgressReads>::default());
        let candle_pages = Arc::new(CandlePages::new(settings.candle_memory_bytes));
        let latest_prices = Arc::<LatestPrices>::default();
        let options = HubOptions {
            max_ahead,
            queue_bytes: settings.stream.queue_bytes,
            replays_at_once: settings.stream.replays_at_once,
        };
        let hub = Arc::new(Hub::new(broker.clone(), store.clone(), Arc::clone(&latest_prices), options));
        let spread = Duration::from_secs(settings.lame_duck_seconds).min(LONGEST_SPREAD);
        let clients = Arc::new(Clients::new(settings.stream.clone(), spread));
        let max_connections = settings.stream.max_clients + platform::http::server::MAX_CONNECTIONS;
        let state = AppState::new(SharedState {
            store: store.clone(),
            history,
            broker: broker.clone(),
            order_waiters: order_waiters.clone(),
            links,
            confirmation: settings.confirmation,
            orders_from_alerts: settings.orders_from_alerts,
            request_time: Duration::from_secs(settings.request_timeout_seconds),
            passwords: Passwords::new(settings.passwords_at_once),
            session_days: settings.session_days,
            progress: Arc::clone(&progress),
            latest_prices: Arc::clone(&latest_prices),
            day_ranges: DayRanges::default(),
            candle_pages: Arc::clone(&candle_pages),
            hub: Arc::clone(&hub),
            clients: Arc::clone(&clients),
            downloads: Downloads::default(),
            trusted_proxies: settings.trusted_proxies,
        });
        let router = router(state).merge(platform::http::admin::routes(health, metrics));
        let router = with_middleware(router, &settings, reads_at_once(store.max_connections()));
        let [lame_duck, drain] = [settings.lame_duck_seconds, settings.drain_seconds].map(Duration::from_secs);
        Ok(Self {
            listener,
            address,
            router,
            lame_duck,
            drain,
            store,
            order_waiters,
            progress,
            latest_prices,
            candle_pages,
            max_ahead,
            hub,
            clients,
            max_connections,
            broker,
            check,
            mail,
        })
    }

    /// Returns the address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves requests and relays the events that they commit, until shutdown. Then it reports that it is not ready, goes
    /// on serving while the load balancer learns of it, and finishes the requests that have begun.
    pub async fn serve(self, shutdown: Shutdown) -> Result<(), ServiceError> {
        let Self { listener, address, router, lame_duck, drain, store, order_waiters, broker, check, mail, .. } = self;
        let Self { progress, latest_prices, candle_pages, max_ahead, hub, clients, max_connections, .. } = self;
        let memory = Memory { prices: &latest_prices, candle_pages: &candle_pages, max_ahead, hub: &hub };
        info!(%address, "the API is at http://{address}/v1, its documentation at http://{address}/docs");
        let router = router.layer(axum::middleware::from_fn_with_state(shutdown.clone(), close_when_draining));
        let close = Shutdown::new();
        let serve = async {
            platform::http::server::serve(listener, router, max_connections, drain, &close).await;
            // Those whose connections are no longer the server's.
            if tokio::time::timeout(drain, clients.gone()).await.is_err() {
                warn!("clients of live streams have not ended in time");
            }
            Ok::<_, ServiceError>(())
        };
        let relay = || outbox_relay::run(&store, &broker, &check, &shutdown);
        let relay_then_drain = async {
            // Only when the relay has ended: it must not report that it is ready again.
            platform::supervise(outbox_relay::LEASE, &check, &shutdown, relay).await?;
            check.failing("asked to stop");
            clients.drain();
            if !lame_duck.is_zero() {
                info!(seconds = lame_duck.as_secs(), "not ready, still serving");
                tokio::time::sleep(lame_duck).await;
            }
            close.cancel();
            Ok::<_, ServiceError>(())
        };
        // These run as long as there are requests: some wait until their order is settled, others to learn how far a market is.
        tokio::select! {
            ended = async { tokio::try_join!(serve, relay_then_drain) } => ended.map(|_| ()),
            never = order_waiters.run(&store) => match never {},
            never = progress.run(&store) => match never {},
            never = memory.follow(&broker, &store) => match never {},
            never = hub.follow() => match never {},
            never = clients.watch() => match never {},
            never = day_changes::read_unknown(&latest_prices, &store) => match never {},
            never = outages::watch(&store, &mail) => match never {},
        }
    }
}

/// The longest time over which the ends of live streams are spread at shutdown.
const LONGEST_SPREAD: Duration = Duration::from_secs(5);

/// Returns the number of requests that only read, or are no order, that run at a time: fewer than there are connections to the
/// database, so that an order does not wait behind all of them.
fn reads_at_once(connections: u32) -> usize {
    (connections as usize * 3 / 4).max(1)
}

/// Returns the OpenAPI document of the API as pretty-printed JSON with a newline at its end.
pub fn openapi_json() -> String {
    let document = routes::router().into_openapi();
    document.to_pretty_json().expect("an OpenAPI document is JSON") + "\n"
}

/// Returns the AsyncAPI document of the live streams as YAML.
pub fn asyncapi_yaml() -> String {
    serde_norway::to_string(&http::asyncapi::document()).expect("an AsyncAPI document is YAML")
}

fn router(state: AppState) -> Router {
    let (operations, api) = routes::router().split_for_parts();
    operations
        .merge(pages::router())
        .with_state(state)
        .merge(SwaggerUi::new("/docs").url("/openapi.json", api))
        .merge(dashboard::router())
}
