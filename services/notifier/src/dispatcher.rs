//! The dispatcher claims deliveries that are due and attempts them. Any number of processes dispatch at the same time.

use std::{sync::Arc, time::Duration};

use events::{AlertFired, DeliveryUpdated, LateVerdict, Outcome, Rule, UserNoticed, delivery::Channel};
use lettre::{Message, message::Mailbox};
use platform::{
    Check, ServiceError, Shutdown, clock,
    signed_links::Links,
    telemetry::trace_context::{set_parent, traceparent},
};
use serde_json::Value;
use store::{
    Store,
    notifications::deliveries::{self, Claim, DeliveryAttempt, Kind},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{Instrument, Span, error, info, info_span, warn};

use crate::{
    Settings,
    attempt_recorder::{AttemptRecorder, RECORD_TIMEOUT},
    channels::email::{
        Mailer,
        mime::{Unsendable, compose},
    },
    retry_policy::{self, AttemptResult, Earlier, JITTER_PERMILLE, RetryDeadline, WaitsFor},
    slots::{Slot, Slots},
    templates::{self, OrderNews, RuleSilence},
};

/// The longest wait between two polls, after which deliveries that another process added are seen.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest wait between two polls. A delivery that is due but cannot be claimed is locked by another process for a moment.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The number of characters of a server's reply that are stored.
const MAX_DETAIL: usize = 500;

/// Attempts a bounded number of deliveries at once. Attempts in flight outlive a run that fails, and a shutdown.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    context: Arc<Context>,
    slots: Slots,
}

/// What an attempt needs to run.
struct Context {
    store: Store,
    recorder: AttemptRecorder,
    mailer: Mailer,
    links: Links,
    from: Mailbox,
    retry_deadline: RetryDeadline,
    /// The wait after the first attempt.
    first_wait: Duration,
    shutdown: Shutdown,
}

impl Dispatcher {
    pub(crate) fn new(
        store: Store,
        mailer: Mailer,
        links: Links,
        from: Mailbox,
        settings: &Settings,
        shutdown: Shutdown,
    ) -> Self {
        info!(to = mailer.destination(), "sending emails");
        let retry_deadline = RetryDeadline { hours: settings.retry_for_hours };
        let first_wait = Duration::from_secs(settings.retry_after_seconds);
        let slots = Slots::new(settings.concurrency);
        let recorder = AttemptRecorder::start(store.clone(), slots.most_unrecorded(), shutdown.clone());
        let context = Context { store, recorder, mailer, links, from, retry_deadline, first_wait, shutdown };
        Self { context: Arc::new(context), slots }
    }

    /// Claims and attempts the deliveries that are due, until the database fails.
    pub(crate) async fn run(&self, check: &Check, due: &Notify) -> Result<(), ServiceError> {
        loop {
            let slots = self.slots.free().await;
            let asked = slots.len();
            // The claim runs in a task of its own: one that is cancelled half way would block its deliveries until the lease
            // ends.
            let claim = tokio::spawn(self.clone().claim(slots));
            let claimed = claim.await.map_err(|error| ServiceError::transient("claim deliveries", error))??;
            check.ready();
            if claimed < asked {
                let next = deliveries::next_due_in(&self.context.store).await?.unwrap_or(POLL_INTERVAL);
                tokio::select! {
                    () = due.notified() => {}
                    () = sleep(next.clamp(MIN_POLL_INTERVAL, POLL_INTERVAL)) => {}
                }
            }
        }
    }

    /// Waits until every attempt in flight has ended and is recorded. Their time-outs bound the wait.
    pub(crate) async fn finish(&self) {
        self.slots.all_free().await;
    }

    /// Claims a delivery for each slot and starts the attempts; returns their number.
    async fn claim(self, slots: Vec<Slot>) -> Result<usize, ServiceError> {
        if self.context.shutdown.is_cancelled() {
            return Ok(0);
        }
        let claims = deliveries::claim(&self.context.store, slots.len() as i64, self.lease()).await?;
        let claimed = claims.len();
        self.attempt(claims, slots);
        Ok(claimed)
    }

    /// Returns free slots for deliveries that are about to be added, so many at most.
    pub(crate) fn reserve(&self, most: usize) -> Vec<Slot> {
        if self.context.shutdown.is_cancelled() {
            return Vec::new();
        }
        self.slots.free_now().take(most).collect()
    }

    /// Returns the time for which a delivery is claimed.
    pub(crate) fn lease(&self) -> Duration {
        self.context.mailer.limit() + RECORD_TIMEOUT
    }

    /// Starts the attempts at deliveries that are claimed, each in a slot.
    pub(crate) fn attempt(&self, claims: Vec<Claim>, slots: Vec<Slot>) {
        metrics::counter!("tickbell_deliveries_claimed_total").increment(claims.len() as u64);
        for (claim, Slot { connection, unrecorded }) in claims.into_iter().zip(slots) {
            let delivery = &claim.delivery;
            let span =
                info_span!("deliver", delivery = %delivery.id, source = delivery.source_id, attempt = claim.attempt);
            set_parent(&span, delivery.traceparent.as_deref());
            let context = Arc::clone(&self.context);
            let attempt = async move {
                let ended = context.attempt(&claim).await;
                // The next email waits for a connection and not for the record of this one.
                drop(connection);
                context.recorder.record(ended, unrecorded).await;
            };
            tokio::spawn(attempt.instrument(span));
        }
    }
}

impl Context {
    /// Makes one attempt, from rendering the email to its result.
    async fn attempt(&self, claim: &Claim) -> DeliveryAttempt {
        let started = Instant::now();
        let earlier = Earlier { created_at: claim.created_at, unknown: claim.unknown_attempts };
        let result = match self.retry_deadline.refuse(earlier, clock::now()) {
            Some(refused) => refused,
            None => match self.compose(claim) {
                Ok(message) => self.mailer.send(claim.delivery.id, &message).await,
                Err(unsendable) => AttemptResult::new(Outcome::Failed, unsendable.to_string()),
            },
        };
        let now = clock::now();
        let result = self.retry_deadline.apply(result, earlier, now);
        let update = DeliveryUpdated {
            delivery_id: claim.delivery.id,
            about: claim.delivery.source_id.clone(),
            channel: claim.delivery.channel,
            attempt: claim.attempt,
            outcome: result.outcome,
            detail: recordable(&result.detail, &claim.delivery.address),
            at: now,
        };
        let retry_in = retry_policy::wait(self.first_wait, claim.attempt, rand::random_range(JITTER_PERMILLE));
        record_metrics(claim, &update, started.elapsed());
        log_attempt(claim, &update, retry_in);
        let waits_for_server = result.outcome == Outcome::Retrying && result.waits_for == WaitsFor::Server;
        let server = self.mailer.destination();
        DeliveryAttempt { update, retry_in, server, waits_for_server }
    }

    fn compose(&self, claim: &Claim) -> Result<Message, Unsendable> {
        let delivery = &claim.delivery;
        let email = match delivery.kind {
            Kind::Alert => {
                templates::alert(&serde_json::from_value::<AlertFired>(delivery.content.clone())?, &self.links)
            }
            Kind::Late => {
                templates::late(&serde_json::from_value::<Vec<LateVerdict>>(delivery.content.clone())?, &self.links)
            }
            Kind::Confirmation => {
                templates::confirmation(&serde_json::from_value::<Rule>(delivery.content.clone())?, &self.links)
            }
            Kind::Silence => {
                templates::silence(&serde_json::from_value::<RuleSilence>(delivery.content.clone())?, &self.links)
            }
            Kind::Account => {
                templates::account(&serde_json::from_value::<UserNoticed>(delivery.content.clone())?, &self.links)
            }
            Kind::Trade => templates::orders(orders(delivery.content.clone())?, &self.links),
        };
        compose(claim, email, &self.from, traceparent(&Span::current(), delivery.traceparent.as_deref()).as_deref())
    }
}

/// Decodes the order news of a delivery: an array where several were batched, else one object.
fn orders(content: Value) -> Result<Vec<OrderNews>, serde_json::Error> {
    if content.is_array() { serde_json::from_value(content) } else { Ok(vec![serde_json::from_value(content)?]) }
}

fn record_metrics(claim: &Claim, update: &DeliveryUpdated, took: Duration) {
    let (channel, outcome) = (update.channel.to_string(), update.outcome.as_str());
    metrics::counter!("tickbell_deliveries_total", "channel" => channel.clone(), "outcome" => outcome).increment(1);
    metrics::histogram!("tickbell_delivery_duration_seconds", "channel" => channel).record(took);
    if update.outcome == Outcome::Sent && claim.delivery.kind == Kind::Alert {
        let micros = (update.at.micros() - claim.created_at.micros()).max(0).unsigned_abs();
        metrics::histogram!("tickbell_alert_delivery_latency_seconds").record(Duration::from_micros(micros));
    }
}

/// Logs one line per attempt. Addresses are personal data, so only the domain is logged.
fn log_attempt(claim: &Claim, update: &DeliveryUpdated, retry_in: Duration) {
    let domain = claim.delivery.address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let (outcome, detail) = (update.outcome.as_str(), &update.detail);
    match update.outcome {
        Outcome::Sent => info!(domain, outcome, detail, "delivered"),
        Outcome::Failed => error!(domain, outcome, detail, "delivery failed"),
        Outcome::Retrying | Outcome::Unknown => {
            warn!(domain, outcome, detail, retry_in_s = retry_in.as_secs(), "delivery attempt failed, retrying");
        }
    }
}

/// Registers the counters at zero, because Prometheus would not see the step from an absent counter to one.
pub(crate) fn register_metrics() {
    for outcome in Outcome::ALL.map(Outcome::as_str) {
        let channel = Channel::Email.to_string();
        metrics::counter!("tickbell_deliveries_total", "channel" => channel, "outcome" => outcome).increment(0);
    }
}

/// Returns a server's reply as it is stored, published and logged: without the address, which servers often repeat, in one line
/// of bounded length, and with control characters escaped. PostgreSQL's text takes no NUL, and a terminal obeys others.
fn recordable(detail: &str, address: &str) -> String {
    // What is no address may be a part of any word.
    let detail = if address.contains('@') { detail.replace(address, "the address") } else { detail.to_owned() };
    let line = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut escaped = String::with_capacity(line.len());
    for character in line.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped.chars().take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_stored_without_the_address_and_with_a_bound() {
        let said = recordable("550 5.1.1 <ada@example.com>:\r\n user unknown", "ada@example.com");
        assert_eq!(said, "550 5.1.1 <the address>: user unknown");
        assert_eq!(recordable(&"é".repeat(1_000), "ada@example.com").chars().count(), MAX_DETAIL);
    }

    #[test]
    fn what_cannot_be_recorded_is_escaped() {
        for (detail, expected) in [
            ("250 2.0.0 ok \0 queued", "250 2.0.0 ok \\u{0} queued"),
            ("250 \u{1b}[31mred", "250 \\u{1b}[31mred"),
            ("250 \u{9b}31mred", "250 \\u{9b}31mred"),
            ("550 boîte inconnue", "550 boîte inconnue"),
        ] {
            assert_eq!(recordable(detail, "ada@example.com"), expected);
        }
    }
}
