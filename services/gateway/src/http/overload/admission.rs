//! Admission: whether a request is handled or refused at once, because the server already handles as many as it can.
//!
//! Each kind of request has a share of its own, so that no kind keeps out another: reads may be refused while orders go
//! through. Netflix's concurrency-limits calls these partitions, and also delays what it refuses
//! (<https://github.com/Netflix/concurrency-limits>).
//!
//! Under overload most requests are refused, so a refusal must cost much less than an answer: this layer is the outermost,
//! and what it answers was written ahead of time. Clients that try again at once would still use up the processor, so a
//! refusal is held for some milliseconds, and longer where there are more than one for [`ANSWERS_PER_REFUSAL`].

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::{FromRequestParts, Request},
    http::request::Parts,
    response::Response,
};
use futures::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};
use tower::{Layer, Service};

use crate::{
    http::{
        overload::{refusal::Refusals, share::Share},
        request_identity,
    },
    settings::Settings,
};

/// The time for which a refusal is held at least. A client measures it together with the work: at most 10 ms.
const HOLD: Duration = Duration::from_millis(5);
/// The time for which a refusal is held at most: after that a client may try again anyway (`Retry-After`).
const LONGEST_HOLD: Duration = Duration::from_secs(1);
/// The number of answers for each refusal that is sent; further refusals are held longer. A refusal costs about a quarter of what
/// an answer costs (measured with `benches/overload.rs`), so they take about an eighth of the time, on slow machines too.
const ANSWERS_PER_REFUSAL: u32 = 2;
/// The number of refusals per second that are sent however few answers there are, when requests wait for a slow database.
const LEAST_REFUSALS: u32 = 2_000;
/// The interval in which answers are counted.
const COUNTED: Duration = Duration::from_millis(100);
/// The number of requests with a password that are accepted, for each password that may be hashed at a time; all but one of
/// them wait.
const REQUESTS_PER_HASH: usize = 16;

/// The shares, as a layer around all routes.
#[derive(Clone)]
pub(crate) struct AdmissionLayer(Arc<Admission>);

struct Admission {
    orders: Arc<Semaphore>,
    passwords: Arc<Semaphore>,
    other: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    refusals: Refusals,
    pace: Pace,
}

impl AdmissionLayer {
    pub(crate) fn new(settings: &Settings, refusals: Refusals) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        Self(Arc::new(Admission {
            orders: semaphore(settings.max_orders_in_flight),
            passwords: semaphore(settings.passwords_at_once * REQUESTS_PER_HASH),
            other: semaphore(settings.max_in_flight),
            waits: semaphore(settings.max_order_waits),
            refusals,
            pace: Pace::new(Instant::now()),
        }))
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = AdmissionService<S>;
    fn layer(&self, inner: S) -> AdmissionService<S> {
        AdmissionService { inner, admission: Arc::clone(&self.0) }
    }
}

/// A route behind admission.
#[derive(Clone)]
pub(crate) struct AdmissionService<S> {
    inner: S,
    admission: Arc<Admission>,
}

impl<S> Service<Request> for AdmissionService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.admission.admit(&request) {
            Ok(admitted) => {
                request.extensions_mut().insert(admitted.clone());
                let (response, admission) = (self.inner.call(request), Arc::clone(&self.admission));
                Box::pin(async move {
                    let response = response.await;
                    drop(admitted);
                    admission.pace.answered();
                    response
                })
            }
            Err(share) => {
                let admission = Arc::clone(&self.admission);
                let until = admission.pace.refused(Instant::now());
                Box::pin(async move {
                    sleep_until(until).await;
                    Ok(admission.refusals.refuse(share, request).await)
                })
            }
        }
    }
}

impl Admission {
    fn admit(&self, request: &Request) -> Result<Admitted, Share> {
        let Some(share) = Share::of(request.method(), request_identity::route(request)) else {
            return Ok(Admitted(None));
        };
        let semaphore = match share {
            Share::Orders => &self.orders,
            Share::Passwords => &self.passwords,
            Share::Other => &self.other,
        };
        let permit = Arc::clone(semaphore).try_acquire_owned().map_err(|_| share)?;
        let waits = Arc::clone(&self.waits);
        Ok(Admitted(Some(Arc::new(Admittance { share, permit: Mutex::new(Some(permit)), waits }))))
    }
}

/// A request that was admitted. It leaves its share when all clones are dropped, or when it begins to wait.
#[derive(Clone)]
pub(crate) struct Admitted(Option<Arc<Admittance>>);

struct Admittance {
    share: Share,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    waits: Arc<Semaphore>,
}

/// The permit to wait for a decision of the settler.
pub(crate) struct WaitPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    /// Returns the share of the request; `None` where it belongs to none.
    pub(crate) fn share(&self) -> Option<Share> {
        self.0.as_ref().map(|admittance| admittance.share)
    }

    /// Leaves the share, so that others are admitted while this request only waits. Returns `None`, and stays in the share,
    /// when too many requests wait already; this one should be answered now.
    pub(crate) fn begin_wait(&self) -> Option<WaitPermit> {
        let Some(admittance) = &self.0 else { return Some(WaitPermit { _permit: None }) };
        let permit = Arc::clone(&admittance.waits).try_acquire_owned().ok()?;
        drop(admittance.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
        Some(WaitPermit { _permit: Some(permit) })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admitted {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(None)))
    }
}

/// The times at which refusals are sent.
struct Pace(Mutex<PaceState>);

struct PaceState {
    /// The earliest time of the next refusal.
    next: Instant,
    /// The time between two refusals.
    interval: Duration,
    /// The answers since a time.
    answers: u32,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self(Mutex::new(PaceState { next: now, interval: interval(0, COUNTED), answers: 0, since: now }))
    }

    /// Counts a request that was answered.
    fn answered(&self) {
        self.state().answers += 1;
    }

    /// Returns when to refuse a request that has arrived now.
    fn refused(&self, now: Instant) -> Instant {
        let mut state = self.state();
        let counted = now.saturating_duration_since(state.since);
        if counted >= COUNTED {
            state.interval = interval(state.answers, counted);
            (state.answers, state.since) = (0, now);
        }
        let at = state.next.clamp(now + HOLD, now + LONGEST_HOLD);
        state.next = at + state.interval;
        at
    }

    fn state(&self) -> MutexGuard<'_, PaceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time between two refusals after so many answers within a time.
fn interval(answers: u32, time: Duration) -> Duration {
    let least = Duration::from_secs(1) / LEAST_REFUSALS;
    (time * ANSWERS_PER_REFUSAL).checked_div(answers).map_or(least, |interval| interval.min(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the longest time for which one of so many refusals of the same moment is held.
    fn longest(pace: &Pace, now: Instant, refusals: u32) -> Duration {
        (0..refusals).map(|_| pace.refused(now) - now).max().expect("some")
    }

    #[tokio::test]
    async fn few_refusals_are_held_briefly_and_many_are_spread_over_time() {
        let began = Instant::now();
        let pace = Pace::new(began);
        assert_eq!(longest(&pace, began, 1), HOLD);
        assert_eq!(longest(&pace, began, LEAST_REFUSALS / 200), 2 * HOLD);
        assert_eq!(longest(&pace, began, 2 * LEAST_REFUSALS), LONGEST_HOLD, "a bound");
        let later = began + 2 * LONGEST_HOLD;
        assert_eq!(longest(&pace, later, 1), HOLD, "nothing is held any more");
    }

    #[tokio::test]
    async fn more_answers_let_more_refusals_go() {
        for (answers, refusals) in [(0, LEAST_REFUSALS), (10, LEAST_REFUSALS), (4_000, 2_000), (20_000, 10_000)] {
            let began = Instant::now();
            let pace = Pace::new(began);
            (0..answers).for_each(|_| pace.answered());
            let now = began + SECOND;
            let held = longest(&pace, now, refusals / 10) - HOLD;
            assert!(held <= SECOND / 10 && held > SECOND / 11, "{answers} answers: {held:?}");
        }
    }
}
