//! The HTTP API: subscribe, query, confirm, unsubscribe. Decides nothing: what is asked becomes a row and a fact in one
//! transaction, and the fact is relayed to the broker.

mod account_pages;
mod account_schemas;
mod accounts;
mod address;
mod alerts;
mod caller;
mod deposits;
mod extract;
mod fields;
mod keys;
mod layers;
mod network;
mod observe;
mod openapi;
mod order_schemas;
mod orders;
mod pages;
mod passwords;
mod prefer;
mod prices;
mod problem;
mod query;
mod schemas;
mod sessions;
mod settings;
mod subscription;
mod terms;
mod then;
mod users;

use std::{convert::Infallible, net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, middleware, response::Redirect, routing::get};
use platform::{Broker, Check, Health, ServiceError, Shutdown, signed_links::Links, telemetry::Metrics};
use store::{Store, consumer::leader_lock, identity::expiry, outbox::relay};
use tokio::net::TcpListener;
use tracing::{debug, info, warn};
use utoipa_swagger_ui::SwaggerUi;

use crate::passwords::Passwords;

pub use settings::{Confirmation, OrdersFromAlerts, Settings};

/// Whose advisory lock says which gateway relays; all of them answer.
const RELAY: &str = "gateway-outbox";

/// How often what is over is taken away.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    store: Store,
    links: Links,
    confirmation: Confirmation,
    orders_from_alerts: OrdersFromAlerts,
    /// How long a request may take.
    request_time: Duration,
    passwords: Passwords,
    session_days: u16,
    trusted_proxies: usize,
}

/// A gateway that listens and does not answer yet.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    lame_duck: Duration,
    drain: Duration,
    store: Store,
    broker: Broker,
    check: Check,
}

impl Gateway {
    /// Binds the address, so that a caller knows the port before anything is served. Fatal when the settings are wrong
    /// or the address is taken.
    pub async fn bind(
        settings: Settings,
        links: Links,
        store: Store,
        broker: Broker,
        health: Health,
        metrics: Metrics,
    ) -> Result<Self, ServiceError> {
        settings.validate().map_err(|error| ServiceError::permanent("settings", error))?;
        let taken =
            |error| ServiceError::permanent(format!("listen on {} (setting gateway.listen)", settings.listen), error);
        let listener = TcpListener::bind(settings.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let check = health.check("gateway");
        let app = App {
            store: store.clone(),
            links,
            confirmation: settings.confirmation,
            orders_from_alerts: settings.orders_from_alerts,
            request_time: Duration::from_secs(settings.request_timeout_seconds),
            passwords: Passwords::new(settings.passwords_at_once),
            session_days: settings.session_days,
            trusted_proxies: settings.trusted_proxies,
        };
        let router = router(app).merge(platform::http::admin::routes(health, metrics));
        let router = layers::around(router, &settings);
        let [lame_duck, drain] = [settings.lame_duck_seconds, settings.drain_seconds].map(Duration::from_secs);
        Ok(Self { listener, address, router, lame_duck, drain, store, broker, check })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests and relays what they commit, until shutdown. OnFire it is no longer ready, and goes on answering
    /// while whoever balances the load learns of it; at last it finishes the requests that were begun.
    pub async fn serve(self, shutdown: Shutdown) -> Result<(), ServiceError> {
        let Self { listener, address, router, lame_duck, drain, store, broker, check } = self;
        info!(%address, "the API is at http://{address}/v1, its documentation at http://{address}/docs");
        let router = router.layer(middleware::from_fn_with_state(shutdown.clone(), layers::see_off));
        let close = Shutdown::new();
        let answer = async {
            platform::http::server::serve(listener, router, drain, &close).await;
            Ok::<_, ServiceError>(())
        };
        let session = || relay(&store, &broker, &check, &shutdown);
        let leave = async {
            // Only when the relay has ended: it must not call itself ready again.
            platform::supervise(RELAY, &check, &shutdown, session).await?;
            check.failing("asked to stop");
            info!(seconds = lame_duck.as_secs(), "no longer ready, still answering");
            tokio::time::sleep(lame_duck).await;
            close.cancel();
            Ok::<_, ServiceError>(())
        };
        // For as long as there are requests: some wait for what is settled.
        tokio::select! {
            ended = async { tokio::try_join!(answer, leave) } => ended.map(|_| ()),
            never = store.order_waiters().run(&store) => match never {},
        }
    }
}

/// Publishes what any gateway has committed, while no other gateway does.
async fn relay(store: &Store, broker: &Broker, check: &Check, shutdown: &Shutdown) -> Result<(), ServiceError> {
    let mut leader_lock = leader_lock::acquire(&store, RELAY, check).await?;
    check.ready();
    let mut lost = pin!(leader_lock.lost());
    tokio::select! {
        fault = lost.as_mut() => Err(fault),
        ended = relay::run(&store, store::rules::SERVICE, broker, Duration::ZERO, shutdown) => ended,
        never = sweep(store) => match never {},
    }
}

/// Takes away what is over, as long as what is kept about people says it is kept.
async fn sweep(store: &Store) -> Infallible {
    loop {
        match expiry::delete_expired(&store, platform::clock::now()).await {
            Ok(rows) => debug!(rows, "took away what is over"),
            // What was left is taken the next time.
            Err(error) => {
                warn!(error = platform::runtime::error::error_chain(&error), "what is over was not taken away")
            }
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

fn router(app: App) -> Router {
    let (operations, api) = openapi::router().split_for_parts();
    operations
        .merge(pages::router())
        .merge(account_pages::router())
        .with_state(app)
        .merge(SwaggerUi::new("/docs").url("/openapi.json", api))
        .route("/", get(|| async { Redirect::to("/docs/") }))
}
