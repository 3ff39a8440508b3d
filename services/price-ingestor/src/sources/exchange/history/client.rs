//! The HTTP client of a venue, whose requests share one budget: every wait and every body is bounded.

use std::time::Duration;

use platform::ServiceError;
use reqwest::{StatusCode, Url, header::RETRY_AFTER, redirect};
use thiserror::Error;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// The list of all products of a large venue.
const MAX_BODY_BYTES: usize = 64 << 20;
const MAX_REDIRECTS: usize = 3;
/// The wait after a refusal that names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest wait that a venue can ask for; it is then asked again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Binance bans addresses that go on after 429.
const BANNED: u16 = 418;

/// The error of a request.
#[derive(Debug, Error)]
pub(crate) enum RestError {
    /// The server did not answer, or not to the end.
    #[error("the venue's REST API did not answer")]
    Request(#[source] reqwest::Error),
    /// The budget of the venue is used up. All requests wait.
    #[error("the venue's REST API asks to wait for {0:?}")]
    Limited(Duration),
    /// The server answered with an error status.
    #[error("the venue's REST API answered with status {0}")]
    Status(StatusCode),
    /// The body is larger than the limit.
    #[error("the venue's REST API answered with more than {MAX_BODY_BYTES} bytes")]
    BodyTooLarge,
    /// The body is no text.
    #[error("the answer of the venue's REST API is no text")]
    NotText,
}

impl RestError {
    /// Returns whether the same request cannot succeed later: the venue does not know what it asks for.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Status(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE))
    }

    /// Returns whether the venue has answered, and with something that is of no use. It may do so for a while: Binance answers 403
    /// where its firewall finds that an address asks for too much.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Status(status) => status.is_client_error() && *status != StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge | Self::NotText => true,
            Self::Request(_) | Self::Limited(_) => false,
        }
    }
}

/// The client of one venue.
pub(crate) struct RestClient {
    http: reqwest::Client,
    base: Url,
    interval: Duration,
    /// When the next request may begin.
    next_at: Mutex<Instant>,
}

impl RestClient {
    /// Returns a client for the API at `base` that makes at most `per_second` requests in a second.
    pub(crate) fn new(base: &Url, per_second: u32, timeout: Duration) -> Result<Self, ServiceError> {
        let http = platform::http::client::builder(base)
            .timeout(timeout)
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            .user_agent(concat!("tickbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ServiceError::permanent("make an HTTP client for an exchange", error))?;
        let interval = Duration::from_secs(1) / per_second.max(1);
        Ok(Self { http, base: base.clone(), interval, next_at: Mutex::new(Instant::now()) })
    }

    /// Returns the body of a path and query, when the budget allows the request.
    pub(crate) async fn get(&self, query: &str) -> Result<String, RestError> {
        let at = {
            let mut next_at = self.next_at.lock().await;
            let at = (*next_at).max(Instant::now());
            *next_at = at + self.interval;
            at
        };
        sleep_until(at).await;
        let url = format!("{}{query}", self.base.as_str().trim_end_matches('/'));
        let mut response = self.http.get(url).send().await.map_err(request_error)?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.as_u16() == BANNED {
            return Err(self.wait_as_asked(&response).await);
        }
        if !status.is_success() {
            return Err(RestError::Status(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(request_error)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(RestError::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map_err(|_| RestError::NotText)
    }

    async fn wait_as_asked(&self, response: &reqwest::Response) -> RestError {
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let wait = seconds.map_or(DEFAULT_RETRY_AFTER, Duration::from_secs).min(MAX_RETRY_AFTER);
        let mut next_at = self.next_at.lock().await;
        *next_at = (*next_at).max(Instant::now() + wait);
        RestError::Limited(wait)
    }
}

/// Drops the URL of an error, which may carry a password, because errors go to the log.
fn request_error(error: reqwest::Error) -> RestError {
    RestError::Request(error.without_url())
}
