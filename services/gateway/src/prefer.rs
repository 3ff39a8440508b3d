//! Two headers of requests that change something: how long to wait for the outcome, and the request's own name.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use tokio::time::Instant;

use crate::{
    App,
    problem::{Mistake, Problem},
};

/// RFC 7240.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What of it was done.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest wait.
const LONGEST_WAIT: u64 = 30;
/// What is left of the request's time to write the answer in.
const TO_ANSWER: Duration = Duration::from_millis(500);
/// The longest name of a request.
const LONGEST_KEY: usize = 255;

/// When a request came, before anything of it was read: from then on its time runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came(pub(crate) Instant);

/// `Prefer: wait=N`, from when the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    seconds: u64,
    pub(crate) deadline: Instant,
}

impl Wait {
    /// The preference as it is applied: shorter than asked for when the request's time would not do.
    fn within(asked: u64, Came(came): Came, request_time: Duration) -> Self {
        let seconds = asked.min(LONGEST_WAIT).min(request_time.as_secs());
        let time = Duration::from_secs(seconds).min(request_time.saturating_sub(TO_ANSWER));
        Self { seconds, deadline: came + time }
    }

    /// `Preference-Applied`.
    pub(crate) fn applied(self) -> (HeaderName, HeaderValue) {
        let value = HeaderValue::try_from(format!("wait={}", self.seconds));
        (PREFERENCE_APPLIED, value.unwrap_or_else(|_| HeaderValue::from_static("wait=1")))
    }
}

/// Whether an answer may take its time. A preference that is not understood is passed over (RFC 7240 §2).
pub(crate) struct Patience(pub(crate) Option<Wait>);

impl FromRequestParts<App> for Patience {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let came = parts.extensions.get().copied().unwrap_or_else(|| Came(Instant::now()));
        Ok(Self(asked(&parts.headers).map(|seconds| Wait::within(seconds, came, app.request_time))))
    }
}

fn asked(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    // The first counts (§2).
    let wait = preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    wait.parse().ok().filter(|seconds| *seconds > 0)
}

/// The name of a request, by which a repeated one is known.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        key(&parts.headers).map(Self).map_err(|detail| Problem::invalid(vec![mistaken_key(detail)]))
    }
}

/// What is wrong with the request's name.
pub(crate) fn mistaken_key(detail: &str) -> Mistake {
    Mistake::parameter("Idempotency-Key", detail)
}

fn key(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err("stands twice"),
        (Some(value), None) => match value.to_str() {
            Ok(text) if (1..=LONGEST_KEY).contains(&text.len()) => Ok(Some(text.to_owned())),
            _ => Err("must be 1 to 255 printable ASCII characters"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a header"))).collect()
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        for (values, seconds) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, Wait = 5; foo=bar"], Some(5)),
            (&["return=minimal", "wait=\"3\", wait=9"], Some(3)),
            (&["wait"], None),
            (&["wait=0"], None),
            (&["wait=soon"], None),
            (&["wait=-1"], None),
            (&["waiting=5"], None),
            (&[], None),
        ] {
            assert_eq!(asked(&headers(&PREFER, values)), seconds, "{values:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_before_the_requests_time_does() {
        let wait = |asked, time| {
            let wait = Wait::within(asked, Came(Instant::now()), Duration::from_secs(time));
            (wait.applied().1.to_str().expect("text").to_owned(), (wait.deadline - Instant::now()).as_millis())
        };
        assert_eq!(wait(5, 10), ("wait=5".into(), 5_000));
        assert_eq!(wait(10, 10), ("wait=10".into(), 9_500));
        assert_eq!(wait(99, 10), ("wait=10".into(), 9_500));
        assert_eq!(wait(u64::MAX, 300), ("wait=30".into(), 30_000));
        assert_eq!(wait(1, 1), ("wait=1".into(), 500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_spent_on_reading_a_request_is_not_waited_again() {
        let came = Came(Instant::now());
        tokio::time::advance(Duration::from_secs(4)).await;
        let wait = Wait::within(30, came, Duration::from_secs(10));
        assert_eq!((wait.deadline - Instant::now()).as_millis(), 5_500);
    }

    #[test]
    fn a_requests_name_is_short_printable_and_stands_once() {
        assert_eq!(key(&HeaderMap::new()), Ok(None));
        assert_eq!(key(&headers(&IDEMPOTENCY_KEY, &["a b-1"])), Ok(Some("a b-1".into())));
        for bad in [&[""][..], &["ä"], &["a", "a"], &[&"x".repeat(256)]] {
            assert!(key(&headers(&IDEMPOTENCY_KEY, bad)).is_err(), "{bad:?}");
        }
    }
}
