//! A sandbox server of the coinnews API, for demos and tests that poll prices and must not need the internet.
//!
//! `GET /api/data` lists the coins, `GET /api/data/{coin}` returns a price and its time, and `GET
//! /api/data/{coin}/history` the prices of the last day. The source `coinnews:URL` of `price-ingestor` is the client.
//!
//! The prices of a coin come from a [`random_walk`], which is a function of the seed and the time, or from a recording
//! that is replayed in a loop from the start of the server ([`playback`]).

mod api;
mod coin_prices;
mod playback;
mod price_series;
mod random_walk;
mod recording;
mod settings;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use market_data::InitialPrices;
use platform::{Check, ServiceError, Shutdown, clock, http::server};
use tokio::net::TcpListener;
use tracing::info;

use coin_prices::CoinPrices;
pub use settings::{Settings, Source, SourceError};

/// The time that clients have to receive their answers after shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that is bound to its address and does not answer yet.
pub struct Coinnews {
    listener: TcpListener,
    address: SocketAddr,
    prices: CoinPrices,
    source: Source,
}

impl Coinnews {
    /// Reads the recording, if the settings name one, and binds the address. The error is permanent: the settings are
    /// wrong, the file contains no price of a coin, or the address is in use.
    pub async fn bind(settings: Settings) -> Result<Self, ServiceError> {
        settings.validate().map_err(|error| ServiceError::permanent("settings", error))?;
        let bind_error = |error| {
            ServiceError::permanent(format!("cannot listen on {} (setting coinnews.listen)", settings.listen), error)
        };
        let prices = coin_prices(&settings).await?;
        let listener = TcpListener::bind(settings.listen).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Self { listener, address, prices, source: settings.source })
    }

    /// Returns the address that the server listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until shutdown, and then finishes those that are in progress.
    pub async fn serve(self, check: &Check, shutdown: &Shutdown) {
        let Self { listener, address, prices, source } = self;
        let coins = prices.coin_count();
        info!(%address, %source, coins, "the coinnews API is at http://{address}/api/data");
        check.ready();
        let router = api::router(prices);
        server::serve(listener, router, server::MAX_CONNECTIONS, DRAIN_TIMEOUT, shutdown).await;
    }
}

/// Serves the coinnews API until `shutdown`. The service needs neither a broker nor a database.
///
/// The error is permanent, as for [`Coinnews::bind`]: an operator has to act.
pub async fn run(settings: Settings, check: Check, shutdown: Shutdown) -> Result<(), ServiceError> {
    Coinnews::bind(settings).await?.serve(&check, &shutdown).await;
    Ok(())
}

async fn coin_prices(settings: &Settings) -> Result<CoinPrices, ServiceError> {
    match &settings.source {
        Source::Walk => Ok(CoinPrices::from_random_walks(settings.seed, settings.interval, &InitialPrices::default())),
        Source::File(path) => {
            let path = path.clone();
            let task = tokio::task::spawn_blocking(move || recording::read(&path));
            let recorded =
                task.await.unwrap_or_else(|error| Err(ServiceError::permanent("read the recording", error)))?;
            Ok(CoinPrices::from_recording(recorded, settings.speed, clock::now()))
        }
    }
}
