//! The coinnews API, answered: `GET /api/data` lists coins, `GET /api/data/{coin}` is a price and its time,
//! `GET /api/data/{coin}/history` the prices of the last day. For demos and tests that poll and must not need the
//! internet; `price-ingestor` is the one who asks.
//!
//! Prices come from a [`walk`], which is a function of its seed and the time, or from a recording that is
//! played again and again from when the server starts ([`playback`]).

mod api;
mod file;
mod market;
mod playback;
mod settings;
mod walk;

use std::{net::SocketAddr, time::Duration};

use market_data::InitialPrices;
use platform::{Check, ServiceError, Shutdown, clock};
use tokio::net::TcpListener;
use tracing::info;

use market::Market;
pub use settings::{Settings, Source, SourceError};

/// How long answers may go on after shutdown is asked for; they are made at once, and only have to be received.
const DRAIN: Duration = Duration::from_secs(5);

/// A server that listens and does not answer yet.
pub struct Coinnews {
    listener: TcpListener,
    address: SocketAddr,
    market: Market,
    source: Source,
}

impl Coinnews {
    /// Reads the recording, if there is one, and binds the address. Fatal when the settings are wrong, the file holds
    /// nothing to play, or the address is taken.
    pub async fn bind(settings: Settings) -> Result<Self, ServiceError> {
        settings.validate().map_err(|error| ServiceError::permanent("settings", error))?;
        let taken =
            |error| ServiceError::permanent(format!("listen on {} (setting coinnews.listen)", settings.listen), error);
        let market = market(&settings).await?;
        let listener = TcpListener::bind(settings.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Self { listener, address, market, source: settings.source })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until shutdown; then finishes the answers that were begun.
    pub async fn serve(self, check: &Check, shutdown: &Shutdown) {
        let Self { listener, address, market, source } = self;
        let coins = market.len();
        info!(%address, %source, coins, "the coinnews API is at http://{address}/api/data");
        check.ready();
        platform::http::server::serve(listener, api::router(market), DRAIN, shutdown).await;
    }
}

/// Serves the coinnews API until `shutdown`. Needs no broker and no database.
///
/// Fatal is what somebody has to look at: an address that is taken, or a recording that cannot be read or holds no
/// price of a coin.
pub async fn run(settings: Settings, check: Check, shutdown: Shutdown) -> Result<(), ServiceError> {
    Coinnews::bind(settings).await?.serve(&check, &shutdown).await;
    Ok(())
}

async fn market(settings: &Settings) -> Result<Market, ServiceError> {
    match &settings.source {
        Source::Walk => Ok(Market::walked(settings.seed, settings.interval, &InitialPrices::default())),
        Source::File(path) => {
            let path = path.clone();
            let reading = tokio::task::spawn_blocking(move || file::read(&path));
            let recorded =
                reading.await.unwrap_or_else(|error| Err(ServiceError::permanent("read the recording", error)))?;
            Ok(recorded.play(settings.speed, clock::now()))
        }
    }
}
