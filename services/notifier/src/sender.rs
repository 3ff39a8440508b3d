//! Deliveries that are due are claimed and attempted. Any number of processes send at the same time.

use std::{sync::Arc, time::Duration};

use events::{AlertFired, DeliveryUpdated, Outcome, Rule, UserNoticed, delivery::Channel};
use lettre::{Message, message::Mailbox};
use platform::{
    Check, ServiceError, Shutdown, clock,
    signed_links::Links,
    telemetry::trace_context::{set_parent, traceparent},
};
use serde_json::Value;
use store::{
    Store,
    notifications::deliveries::{self, Attempt, Claim, Kind},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tracing::{Instrument, Span, error, info, info_span, warn};

use crate::{
    Settings,
    letter::{self, Order},
    mailer::Mailer,
    message::{Unsendable, compose},
    recorder::{RECORDING, Recorder},
    retry::{self, Ending, JITTER_PERMILLE, Patience},
};

/// Deliveries that another process adds are seen after this long at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is due and was not claimed is held by another process for a moment.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What a server says is kept up to this many characters.
const DETAIL: usize = 500;

/// Attempts deliveries, so many at once. What is in flight outlives a session that fails and the wish to stop.
#[derive(Clone)]
pub(crate) struct Sender {
    desk: Arc<Desk>,
    /// One for each delivery that may be attempted at the same time; it is given back when the attempt is recorded.
    slots: Arc<Semaphore>,
}

/// What an attempt needs.
struct Desk {
    store: Store,
    recorder: Recorder,
    mailer: Mailer,
    links: Links,
    from: Mailbox,
    patience: Patience,
    /// The wait after a first attempt.
    first_wait: Duration,
    concurrency: u32,
    shutdown: Shutdown,
}

impl Sender {
    pub(crate) fn new(
        store: Store,
        mailer: Mailer,
        links: Links,
        from: Mailbox,
        settings: &Settings,
        shutdown: Shutdown,
    ) -> Self {
        info!(to = mailer.destination(), "mails are delivered there");
        let patience = Patience { hours: settings.retry_for_hours };
        let first_wait = Duration::from_secs(settings.retry_after_seconds);
        let concurrency = u32::from(settings.concurrency);
        let recorder = Recorder::start(store.clone(), settings.concurrency, shutdown.clone());
        let desk = Desk { store, recorder, mailer, links, from, patience, first_wait, concurrency, shutdown };
        Self { desk: Arc::new(desk), slots: Arc::new(Semaphore::new(settings.concurrency.into())) }
    }

    /// Claims and attempts what is due, until something fails.
    pub(crate) async fn session(&self, check: &Check, due: &Notify) -> Result<(), ServiceError> {
        loop {
            let slots = self.free_slots().await;
            // In a task of its own, to its end: a claim that is dropped in the middle would hold its deliveries back
            // until the lease is over.
            let claim = tokio::spawn(self.clone().claim(slots));
            let claimed = claim.await.map_err(|error| ServiceError::transient("claim deliveries", error))??;
            check.ready();
            if claimed == 0 {
                let next = deliveries::next_due_in(&self.desk.store).await?.unwrap_or(LOOK_EVERY);
                tokio::select! {
                    () = due.notified() => {}
                    () = sleep(next.clamp(LOOK_AGAIN, LOOK_EVERY)) => {}
                }
            }
        }
    }

    /// Waits until everything in flight has ended and is recorded, which the time-outs bound.
    pub(crate) async fn finish(&self) {
        let all = self.slots.acquire_many(self.desk.concurrency).await;
        drop(all.expect("the semaphore is never closed"));
    }

    /// At least one, and all that are free.
    async fn free_slots(&self) -> Vec<OwnedSemaphorePermit> {
        let first = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        let more = std::iter::from_fn(|| Arc::clone(&self.slots).try_acquire_owned().ok());
        std::iter::once(first).chain(more).collect()
    }

    /// Claims a delivery for each slot and starts the attempts; says how many.
    async fn claim(self, slots: Vec<OwnedSemaphorePermit>) -> Result<usize, ServiceError> {
        if self.desk.shutdown.is_cancelled() {
            return Ok(0);
        }
        let lease = self.desk.mailer.limit() + RECORDING;
        let claims = deliveries::claim(&self.desk.store, slots.len() as i64, lease).await?;
        let claimed = claims.len();
        metrics::counter!("tickbell_deliveries_claimed_total").increment(claimed as u64);
        for (claim, slot) in claims.into_iter().zip(slots) {
            let delivery = &claim.delivery;
            let span = info_span!("deliver", delivery = %delivery.id, about = delivery.about, attempt = claim.attempt);
            set_parent(&span, delivery.traceparent.as_deref());
            let desk = Arc::clone(&self.desk);
            let attempt = async move { desk.recorder.record(desk.attempt(&claim).await, slot).await };
            tokio::spawn(attempt.instrument(span));
        }
        Ok(claimed)
    }
}

impl Desk {
    /// One attempt, from composing to how it ended.
    async fn attempt(&self, claim: &Claim) -> Attempt {
        let began = Instant::now();
        let ending = match self.compose(claim) {
            Ok(message) => self.mailer.send(claim.delivery.id, &message).await,
            Err(unsendable) => Ending::new(Outcome::Failed, unsendable.to_string()),
        };
        let now = clock::now();
        let ending = self.patience.judge(ending, claim.created_at, now);
        let update = DeliveryUpdated {
            delivery_id: claim.delivery.id,
            about: claim.delivery.about.clone(),
            channel: claim.delivery.channel,
            attempt: claim.attempt,
            outcome: ending.outcome,
            detail: impersonal(&ending.detail, &claim.delivery.address),
            at: now,
        };
        let retry_in = retry::wait(self.first_wait, claim.attempt, rand::random_range(JITTER_PERMILLE));
        measure(claim, &update, began.elapsed());
        report(claim, &update, retry_in);
        Attempt { update, retry_in }
    }

    fn compose(&self, claim: &Claim) -> Result<Message, Unsendable> {
        let delivery = &claim.delivery;
        let letter = match delivery.kind {
            Kind::Alert => letter::alert(&serde_json::from_value::<AlertFired>(delivery.content.clone())?, &self.links),
            Kind::Confirmation => {
                letter::confirmation(&serde_json::from_value::<Rule>(delivery.content.clone())?, &self.links)
            }
            Kind::Account => {
                letter::account(&serde_json::from_value::<UserNoticed>(delivery.content.clone())?, &self.links)
            }
            Kind::Trade => letter::orders(orders(delivery.content.clone())?, &self.links),
        };
        compose(claim, letter, &self.from, traceparent(&Span::current(), delivery.traceparent.as_deref()).as_deref())
    }
}

/// Those that are told together, or the one that is told by itself.
fn orders(content: Value) -> Result<Vec<Order>, serde_json::Error> {
    if content.is_array() { serde_json::from_value(content) } else { Ok(vec![serde_json::from_value(content)?]) }
}

fn measure(claim: &Claim, update: &DeliveryUpdated, took: Duration) {
    let (channel, outcome) = (update.channel.to_string(), update.outcome.as_str());
    metrics::counter!("tickbell_deliveries_total", "channel" => channel.clone(), "outcome" => outcome).increment(1);
    metrics::histogram!("tickbell_delivery_duration_seconds", "channel" => channel).record(took);
    if update.outcome == Outcome::Sent && claim.delivery.kind == Kind::Alert {
        let micros = (update.at.micros() - claim.created_at.micros()).max(0).unsigned_abs();
        metrics::histogram!("tickbell_alert_delivery_latency_seconds").record(Duration::from_micros(micros));
    }
}

/// One line an attempt. Addresses are personal data: no more than the domain is logged.
fn report(claim: &Claim, update: &DeliveryUpdated, retry_in: Duration) {
    let domain = claim.delivery.address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let (outcome, detail) = (update.outcome.as_str(), &update.detail);
    match update.outcome {
        Outcome::Sent => info!(domain, outcome, detail, "delivered"),
        Outcome::Failed => error!(domain, outcome, detail, "will not be delivered"),
        Outcome::Retrying | Outcome::Unknown => {
            warn!(domain, outcome, detail, retry_in_s = retry_in.as_secs(), "not delivered yet");
        }
    }
}

/// Counts from nought: the step from no counter to one would not be seen.
pub(crate) fn register_metrics() {
    for outcome in Outcome::ALL.map(Outcome::as_str) {
        let channel = Channel::Email.to_string();
        metrics::counter!("tickbell_deliveries_total", "channel" => channel, "outcome" => outcome).increment(0);
    }
}

/// Servers like to repeat the address; what they say is published and logged, and the address is not.
fn impersonal(detail: &str, address: &str) -> String {
    let detail = if address.is_empty() { detail.to_owned() } else { detail.replace(address, "the address") };
    let line = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_kept_without_the_address_and_with_a_bound() {
        let said = impersonal("550 5.1.1 <ada@example.com>:\r\n user unknown", "ada@example.com");
        assert_eq!(said, "550 5.1.1 <the address>: user unknown");
        assert_eq!(impersonal(&"é".repeat(1_000), "ada@example.com").chars().count(), DETAIL);
    }
}
