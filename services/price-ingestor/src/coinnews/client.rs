//! The coinnews API over HTTP. Every wait and every body is bounded: it is somebody else's server.

use std::{collections::BTreeSet, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use market_data::coinnews::{HistoryEntry, Quote};
use platform::{ServiceError, runtime::error::error_chain};
use reqwest::{StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use thiserror::Error;
use tracing::{debug, warn};

const LIST_BYTES: usize = 1024 * 1024;
const QUOTE_BYTES: usize = 64 * 1024;
const HISTORY_BYTES: usize = 16 * 1024 * 1024;
/// Coins beyond so many are not asked for.
const COINS: usize = 1_000;
const REDIRECTS: usize = 3;
/// A request is made once more so often before the poll goes on without its answer.
const RETRIES: usize = 3;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why an answer could not be had or used.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// No answer, or not all of it.
    #[error("no answer")]
    Request(#[source] reqwest::Error),
    /// An answer that says no.
    #[error("answered {0}")]
    Status(StatusCode),
    /// A body that does not end where it should.
    #[error("answered with more than {0} bytes")]
    TooLong(usize),
    /// Not the JSON that it must be.
    #[error("answered what is not understood")]
    Body(#[source] serde_json::Error),
}

impl ClientError {
    /// Whether the same request may succeed a moment later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::TooLong(_) | Self::Body(_) => false,
        }
    }
}

/// Asks one server.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client for the API at `base`, giving each request so long.
    pub(super) fn new(base: &Url, timeout: Duration) -> Result<Self, ServiceError> {
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::limited(REDIRECTS))
            .user_agent(concat!("tickbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ServiceError::permanent("make a client for coinnews", error))?;
        Ok(Self { http, base: base.clone() })
    }

    /// The coins that there are prices of.
    pub(super) async fn coins(&self) -> Result<BTreeSet<String>, ClientError> {
        let mut coins: BTreeSet<String> = self.get(&[], LIST_BYTES).await?;
        if coins.len() > COINS {
            warn!(coins = coins.len(), "too many coins listed, only the first {COINS} are asked for");
            coins = coins.into_iter().take(COINS).collect();
        }
        Ok(coins)
    }

    /// A coin's current price.
    pub(super) async fn quote(&self, coin: &str) -> Result<Quote, ClientError> {
        self.get(&[coin], QUOTE_BYTES).await
    }

    /// A coin's past prices, as the server orders them. Entries that are no price are passed over; a coin without a
    /// history has none.
    pub(super) async fn history(&self, coin: &str) -> Result<Vec<HistoryEntry>, ClientError> {
        // As text: a `Value` gives a number out as a float, which no price is read from.
        let entries: Vec<Box<RawValue>> = match self.get(&[coin, "history"], HISTORY_BYTES).await {
            Err(ClientError::Status(StatusCode::NOT_FOUND)) => return Ok(Vec::new()),
            answer => answer?,
        };
        let all = entries.len();
        let past: Vec<HistoryEntry> =
            entries.iter().filter_map(|entry| serde_json::from_str(entry.get()).ok()).collect();
        if past.len() < all {
            warn!(coin, entries = all, bad = all - past.len(), "passed over entries of the history that are no price");
        }
        Ok(past)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], limit: usize) -> Result<T, ClientError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each is escaped, so that a coin's name cannot lead to another path.
            segments.pop_if_empty().extend(["api", "data"]).extend(path);
        }
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(RETRIES)
            .with_jitter();
        let body = (|| self.body(url.clone(), limit))
            .retry(waits)
            .when(ClientError::is_transient)
            .notify(|error, wait| {
                debug!(
                    path = url.path(),
                    error = error_chain(error),
                    wait_ms = wait.as_millis() as u64,
                    "will ask again"
                );
            })
            .await?;
        serde_json::from_slice(&body).map_err(ClientError::Body)
    }

    async fn body(&self, url: Url, limit: usize) -> Result<Vec<u8>, ClientError> {
        // The URL may carry a password, and errors go to the log.
        let failed = |error: reqwest::Error| ClientError::Request(error.without_url());
        let mut response = self.http.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(ClientError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > limit {
                return Err(ClientError::TooLong(limit));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}
