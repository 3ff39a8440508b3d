//! The HTTP client of an API of somebody else: every wait and every body is bounded, and the budget is kept.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use platform::ServiceError;
use reqwest::{
    StatusCode, Url,
    header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, RETRY_AFTER},
    redirect,
};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

const MAX_BODY_BYTES: usize = 8 << 20;
const MAX_REDIRECTS: usize = 3;
/// The most bytes of an ETag that is sent back.
const MAX_ETAG_BYTES: usize = 1_024;
/// The wait after a refusal that names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(30);
/// The longest wait that an API can ask for; it is then asked again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The error of a request.
#[derive(Debug, Error)]
pub(super) enum RequestError {
    /// The server did not answer, or not to the end.
    #[error("the API did not answer")]
    Request(#[source] reqwest::Error),
    /// The API wants to be left alone for a while.
    #[error("the API answered with status {0} and asks to wait for {1:?}")]
    Limited(StatusCode, Duration),
    /// The server answered with an error status.
    #[error("the API answered with status {0}")]
    Status(StatusCode),
    /// The body is larger than the limit.
    #[error("the API answered with more than {MAX_BODY_BYTES} bytes")]
    BodyTooLarge,
}

/// The reason why a redirect is not followed.
#[derive(Debug, Error)]
enum RedirectError {
    #[error("it redirects to another host, which must not see the key; use its address in url, if it is the API")]
    OtherHost,
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    TooMany,
}

/// What an API has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has answered with this body.
    Body(Vec<u8>),
    /// It has nothing newer than what it answered last.
    NotModified,
}

/// The client of one API.
pub(super) struct Client {
    http: reqwest::Client,
    spacing: Duration,
    next_at: Instant,
    /// The ETags of the last answers, by URL.
    etags: BTreeMap<String, HeaderValue>,
}

impl Client {
    /// Returns a client for the host of `url` that leaves `spacing` between two requests.
    pub(super) fn new(
        url: &Url,
        headers: HeaderMap,
        spacing: Duration,
        timeout: Duration,
    ) -> Result<Self, ServiceError> {
        let http = platform::http::client::builder(url)
            .timeout(timeout)
            .default_headers(headers)
            .redirect(redirect::Policy::custom(follow))
            .user_agent(concat!("tickbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ServiceError::permanent("make an HTTP client for a JSON API", error))?;
        Ok(Self { http, spacing, next_at: Instant::now(), etags: BTreeMap::new() })
    }

    /// Returns the answer of a URL, when the budget allows the request.
    pub(super) async fn get(&mut self, url: &Url) -> Result<Answer, RequestError> {
        sleep_until(self.next_at).await;
        self.next_at = Instant::now() + self.spacing;
        let mut request = self.http.get(url.clone());
        let etag = self.etags.get(url.as_str());
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag.clone());
        }
        let mut response = request.send().await.map_err(request_error)?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && etag.is_some() {
            return Ok(Answer::NotModified);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| parse_retry_after(text, SystemTime::now()));
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some();
        if status == StatusCode::TOO_MANY_REQUESTS || is_busy {
            let wait = retry_after.unwrap_or(DEFAULT_RETRY_AFTER).min(MAX_RETRY_AFTER);
            self.next_at = self.next_at.max(Instant::now() + wait);
            return Err(RequestError::Limited(status, wait));
        }
        if !status.is_success() {
            return Err(RequestError::Status(status));
        }
        let etag = response.headers().get(ETAG).filter(|etag| etag.len() <= MAX_ETAG_BYTES).cloned();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(request_error)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(RequestError::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        match etag {
            Some(etag) => self.etags.insert(url.to_string(), etag),
            None => self.etags.remove(url.as_str()),
        };
        Ok(Answer::Body(body))
    }

    /// Forgets the ETag of a URL whose answer could not be used, so that it is sent whole again.
    pub(super) fn forget(&mut self, url: &Url) {
        self.etags.remove(url.as_str());
    }
}

/// Follows redirects within a host. The library takes `Authorization` away before it goes to another one, and no other key.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let is_same_host = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if !is_same_host {
        return attempt.error(RedirectError::OtherHost);
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(RedirectError::TooMany);
    }
    attempt.follow()
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Drops the URL of an error, which may carry a key, because errors go to the log.
fn request_error(error: reqwest::Error) -> RequestError {
    RequestError::Request(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_420);
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
