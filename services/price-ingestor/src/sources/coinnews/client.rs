//! The HTTP client of the coinnews API, which belongs to somebody else: every wait and every body is bounded.

use std::{collections::BTreeSet, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use market_data::coinnews::{HistoryEntry, Quote};
use platform::{ServiceError, runtime::error::error_chain};
use reqwest::{StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use thiserror::Error;
use tracing::{debug, warn};

const MAX_LIST_BYTES: usize = 1024 * 1024;
const MAX_QUOTE_BYTES: usize = 64 * 1024;
const MAX_HISTORY_BYTES: usize = 16 * 1024 * 1024;
/// The most coins that are polled.
const MAX_COINS: usize = 1_000;
const MAX_REDIRECTS: usize = 3;
/// The most retries of a request; after these the poll goes on without its answer.
const MAX_RETRIES: usize = 3;
const INITIAL_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The error of a request to the coinnews API.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// The server did not answer, or not to the end.
    #[error("the coinnews API did not answer")]
    Request(#[source] reqwest::Error),
    /// The server answered with an error status.
    #[error("the coinnews API answered with status {0}")]
    Status(StatusCode),
    /// The body is larger than the limit in bytes.
    #[error("the coinnews API answered with more than {0} bytes")]
    BodyTooLarge(usize),
    /// The body is not the expected JSON.
    #[error("the answer of the coinnews API cannot be decoded")]
    Decode(#[source] serde_json::Error),
}

impl ClientError {
    /// Returns whether the same request may succeed a moment later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::BodyTooLarge(_) | Self::Decode(_) => false,
        }
    }
}

/// The client of one server.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// Returns a client for the API at `base`, whose requests end after `timeout` each.
    pub(super) fn new(base: &Url, timeout: Duration) -> Result<Self, ServiceError> {
        let http = platform::http::client::builder(base)
            .timeout(timeout)
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            .user_agent(concat!("tickbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ServiceError::permanent("make an HTTP client for the coinnews API", error))?;
        Ok(Self { http, base: base.clone() })
    }

    /// Returns the names of the coins that the API lists.
    pub(super) async fn coins(&self) -> Result<BTreeSet<String>, ClientError> {
        let mut coins: BTreeSet<String> = self.get(&[], MAX_LIST_BYTES).await?;
        if coins.len() > MAX_COINS {
            warn!(coins = coins.len(), "the coinnews API lists too many coins; polling only the first {MAX_COINS}");
            coins = coins.into_iter().take(MAX_COINS).collect();
        }
        Ok(coins)
    }

    /// Returns the current price of a coin.
    pub(super) async fn quote(&self, coin: &str) -> Result<Quote, ClientError> {
        self.get(&[coin], MAX_QUOTE_BYTES).await
    }

    /// Returns the past prices of a coin, in the order of the server, and an empty list for a coin without a history.
    /// Entries that are not a price are skipped.
    pub(super) async fn history(&self, coin: &str) -> Result<Vec<HistoryEntry>, ClientError> {
        // The entries stay text: a `Value` would turn the numbers into floats, and prices are exact.
        let entries: Vec<Box<RawValue>> = match self.get(&[coin, "history"], MAX_HISTORY_BYTES).await {
            Err(ClientError::Status(StatusCode::NOT_FOUND)) => return Ok(Vec::new()),
            answer => answer?,
        };
        let all = entries.len();
        let history: Vec<HistoryEntry> =
            entries.iter().filter_map(|entry| serde_json::from_str(entry.get()).ok()).collect();
        if history.len() < all {
            warn!(
                coin,
                entries = all,
                skipped = all - history.len(),
                "skipped entries of the history that are not a price"
            );
        }
        Ok(history)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], limit: usize) -> Result<T, ClientError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each segment is escaped, so that the name of a coin cannot lead to another path.
            segments.pop_if_empty().extend(["api", "data"]).extend(path);
        }
        let backoff = ExponentialBuilder::default()
            .with_min_delay(INITIAL_BACKOFF)
            .with_max_delay(MAX_BACKOFF)
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        let body = (|| self.fetch_body(url.clone(), limit))
            .retry(backoff)
            .when(ClientError::is_transient)
            .notify(|error, delay| {
                debug!(
                    path = url.path(),
                    error = error_chain(error),
                    retry_in_ms = delay.as_millis() as u64,
                    "the request failed and will be retried"
                );
            })
            .await?;
        serde_json::from_slice(&body).map_err(ClientError::Decode)
    }

    async fn fetch_body(&self, url: Url, limit: usize) -> Result<Vec<u8>, ClientError> {
        // The error drops its URL, which may carry a password, because errors go to the log.
        let request_error = |error: reqwest::Error| ClientError::Request(error.without_url());
        let mut response = self.http.get(url).send().await.map_err(request_error)?;
        if !response.status().is_success() {
            return Err(ClientError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(request_error)? {
            if body.len() + chunk.len() > limit {
                return Err(ClientError::BodyTooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
