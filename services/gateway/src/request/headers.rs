//! The headers `Prefer` and `Idempotency-Key` of requests that change something, and those of streams that resume.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use tokio::time::Instant;

use crate::{
    http::problem::{FieldError, Problem},
    state::AppState,
};

/// The header of a preference (RFC 7240).
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The header of an answer with the preference that was applied.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The header with the name of a request: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header with the id of the last event that a client has received (HTML, section 9.2).
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The header of an answer with the id before its first event; another one than was asked for says that events are lost
/// (<https://mercure.rocks/spec#reconciliation>).
pub(crate) const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");

/// The longest wait, in seconds.
const MAX_WAIT_SECONDS: u64 = 30;
/// The part of the request's time that is left for writing the answer.
const ANSWER_RESERVE: Duration = Duration::from_millis(500);
/// The longest idempotency key, in characters.
const MAX_KEY_LENGTH: usize = 255;

/// The time at which a request was received, before its body was read; its deadline counts from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceivedAt(pub(crate) Instant);

/// The wait that `Prefer: wait=N` asks for, counted from when the request was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitDeadline {
    seconds: u64,
    pub(crate) deadline: Instant,
}

impl WaitDeadline {
    /// Shortens the wait to the time that the request may take.
    fn within(asked: u64, ReceivedAt(received_at): ReceivedAt, request_time: Duration) -> Self {
        let seconds = asked.min(MAX_WAIT_SECONDS).min(request_time.as_secs());
        let time = Duration::from_secs(seconds).min(request_time.saturating_sub(ANSWER_RESERVE));
        Self { seconds, deadline: received_at + time }
    }

    /// Returns the header `Preference-Applied`.
    pub(crate) fn applied(self) -> (HeaderName, HeaderValue) {
        let value = HeaderValue::try_from(format!("wait={}", self.seconds));
        (PREFERENCE_APPLIED, value.unwrap_or_else(|_| HeaderValue::from_static("wait=1")))
    }
}

/// The wait that the client prefers, if any. An unknown preference is ignored (RFC 7240 §2).
pub(crate) struct PreferWait(pub(crate) Option<WaitDeadline>);

impl FromRequestParts<AppState> for PreferWait {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let received_at = parts.extensions.get().copied().unwrap_or_else(|| ReceivedAt(Instant::now()));
        Ok(Self(asked(&parts.headers).map(|seconds| WaitDeadline::within(seconds, received_at, state.request_time))))
    }
}

fn asked(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    // The first preference of a name counts (§2).
    let wait = preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    wait.parse().ok().filter(|seconds| *seconds > 0)
}

/// The idempotency key of a request, by which a repeated request is recognised.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        key(&parts.headers).map(Self).map_err(|detail| Problem::invalid(vec![idempotency_key_error(detail)]))
    }
}

/// Makes the error of an invalid idempotency key.
pub(crate) fn idempotency_key_error(detail: &str) -> FieldError {
    FieldError::parameter("Idempotency-Key", detail)
}

fn key(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err("must be given once"),
        (Some(value), None) => match value.to_str() {
            Ok(text) if (1..=MAX_KEY_LENGTH).contains(&text.len()) => Ok(Some(text.to_owned())),
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
            let wait = WaitDeadline::within(asked, ReceivedAt(Instant::now()), Duration::from_secs(time));
            (wait.applied().1.to_str().expect("text").to_owned(), (wait.deadline - Instant::now()).as_millis())
        };
        assert_eq!(wait(5, 10), ("wait=5".into(), 5_000));
        assert_eq!(wait(10, 10), ("wait=10".into(), 9_500));
        assert_eq!(wait(99, 10), ("wait=10".into(), 9_500));
        assert_eq!(wait(u64::MAX, 300), ("wait=30".into(), 30_000));
        assert_eq!(wait(1, 1), ("wait=1".into(), 500));
    }

    #[tokio::test(start_paused = true)]
    async fn time_spent_on_reading_a_request_shortens_the_wait() {
        let received_at = ReceivedAt(Instant::now());
        tokio::time::advance(Duration::from_secs(4)).await;
        let wait = WaitDeadline::within(30, received_at, Duration::from_secs(10));
        assert_eq!((wait.deadline - Instant::now()).as_millis(), 5_500);
    }

    #[test]
    fn an_idempotency_key_is_short_printable_and_given_once() {
        assert_eq!(key(&HeaderMap::new()), Ok(None));
        assert_eq!(key(&headers(&IDEMPOTENCY_KEY, &["a b-1"])), Ok(Some("a b-1".into())));
        for bad in [&[""][..], &["ä"], &["a", "a"], &[&"x".repeat(256)]] {
            assert!(key(&headers(&IDEMPOTENCY_KEY, bad)).is_err(), "{bad:?}");
        }
    }
}
