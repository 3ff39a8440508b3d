//! Alerts and new rules become deliveries, once each, in the transaction that moves the position.

use events::{AlertFired, Channel, Event, RuleChanged, RuleStatus, Target, Timestamp, rule::RuleHappening};
use platform::{Batch, Broker, Check, Fault, Feed, Shutdown};
use serde_json::Value;
use store::{
    Store, dead_letters,
    deliveries::{self, Delivery, Kind},
    positions::advance,
};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::SERVICE;

/// The durable consumer of stream `RULES`.
const RULES: &str = "notifier-rules";
/// How many events become deliveries in one transaction at most.
const BATCH: usize = 1_000;
/// The namespace of delivery ids, drawn once.
const DELIVERIES: Uuid = Uuid::from_u128(0x6f1d_3c52_8a0b_4e7d_9c41_5b27_e0a8_93f6);

/// One session: from the committed positions on, until something fails. It also publishes what every process's sender
/// has recorded: only the owner of the work may, so that the order is kept.
pub(crate) async fn session(
    broker: &Broker,
    store: &Store,
    check: &Check,
    due: &Notify,
    shutdown: &Shutdown,
) -> Result<(), Fault> {
    let mut ownership = store.own(SERVICE, check).await?;
    let alerts = Reader::open(broker, store, due, SERVICE).await?;
    let rules = Reader::open(broker, store, due, RULES).await?;
    check.ready();
    let work = async {
        tokio::try_join!(
            alerts.follow(of_alert),
            rules.follow(of_rule),
            store.relay_outbox(deliveries::SERVICE, broker, shutdown),
        )
    };
    tokio::select! {
        ended = work => ended.map(|_| ()),
        fault = ownership.lost() => Err(fault),
    }
}

/// One durable consumer and how far it is committed.
struct Reader<'a> {
    store: &'a Store,
    due: &'a Notify,
    consumer: &'static str,
    feed: Feed,
    position: u64,
}

impl<'a> Reader<'a> {
    async fn open(broker: &Broker, store: &'a Store, due: &'a Notify, consumer: &'static str) -> Result<Self, Fault> {
        let position = store.position(consumer, Feed::stream_created(broker, consumer).await?).await?;
        let feed = Feed::open(broker, consumer, position).await?;
        Ok(Self { store, due, consumer, feed, position })
    }

    /// Takes batch after batch through to its acknowledgement.
    async fn follow<E: Event>(mut self, decide: fn(&E) -> Vec<Delivery>) -> Result<(), Fault> {
        loop {
            let batch = self.feed.next(BATCH).await;
            let began = Instant::now();
            self.commit(&batch, decide).await?;
            self.feed.acknowledge(&batch).await;
            metrics::gauge!("tickbell_consumer_lag", "consumer" => self.consumer).set(self.feed.pending() as f64); // float: a gauge is one
            metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => self.consumer).record(began.elapsed());
        }
    }

    async fn commit<E: Event>(&mut self, batch: &Batch, decide: fn(&E) -> Vec<Delivery>) -> Result<(), Fault> {
        let mut made = Vec::new();
        let mut dead = Vec::new();
        let mut last_event_at: Option<Timestamp> = None;
        for message in &batch.messages {
            match message.event::<E>() {
                Ok(event) => {
                    last_event_at = Some(event.time());
                    let traceparent = message.traceparent().map(str::to_owned);
                    made.extend(
                        decide(&event)
                            .into_iter()
                            .map(|delivery| Delivery { traceparent: traceparent.clone(), ..delivery }),
                    );
                }
                Err(reason) => dead.push(message.dead_letter(SERVICE, self.feed.stream(), &reason)),
            }
        }
        let (consumer, from, to) = (self.consumer, self.position, batch.last);
        let wake = !made.is_empty();
        self.store
            .transaction(move |tx| {
                Box::pin(async move {
                    advance(tx, consumer, from, to, last_event_at).await?;
                    if !made.is_empty() {
                        deliveries::add(tx, &made).await?;
                    }
                    dead_letters::give_up(tx, SERVICE, &dead).await
                })
            })
            .await?;
        self.position = to;
        if wake {
            self.due.notify_one();
        }
        Ok(())
    }
}

/// One delivery per target of an alert.
fn of_alert(alert: &AlertFired) -> Vec<Delivery> {
    let told = Told { kind: Kind::Alert, about: &alert.id, rule_id: alert.rule_id, content: content(alert) };
    alert.targets.iter().map(|target| told.to(target)).collect()
}

/// A new rule whose address has not said yes is asked.
fn of_rule(change: &RuleChanged) -> Vec<Delivery> {
    if change.happened != RuleHappening::Created || change.status != RuleStatus::Pending {
        return Vec::new();
    }
    let rule = &change.rule;
    let about = rule.id.to_string();
    let told = Told { kind: Kind::Confirmation, about: &about, rule_id: rule.id, content: content(rule) };
    vec![told.to(&Target { channel: Channel::Email, address: rule.notify.email.clone() })]
}

/// What one or more people are told.
struct Told<'a> {
    kind: Kind,
    about: &'a str,
    rule_id: Uuid,
    content: Value,
}

impl Told<'_> {
    fn to(&self, target: &Target) -> Delivery {
        Delivery {
            id: delivery_id(self.about, target),
            kind: self.kind,
            about: self.about.to_owned(),
            rule_id: self.rule_id,
            channel: target.channel,
            address: target.address.clone(),
            content: self.content.clone(),
            traceparent: None,
        }
    }
}

/// Derived from what is told to whom, so that an event that is read twice makes one delivery.
fn delivery_id(about: &str, target: &Target) -> Uuid {
    Uuid::new_v5(&DELIVERIES, format!("{about}/{}/{}", target.channel, target.address).as_bytes())
}

fn content(event: &impl serde::Serialize) -> Value {
    serde_json::to_value(event).expect("wire types have text keys and no failing serializer")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::letter::tests::fired;

    #[test]
    fn an_alert_is_one_delivery_per_target_under_an_id_derived_from_both() {
        let target = |address: &str| json!({ "channel": "email", "address": address });
        let alert = fired(json!({ "targets": [target("ada@example.com"), target("eve@example.com")] }));
        let made = of_alert(&alert);
        assert_eq!(made, of_alert(&alert));
        let addresses: Vec<&str> = made.iter().map(|delivery| delivery.address.as_str()).collect();
        assert_eq!(addresses, ["ada@example.com", "eve@example.com"]);
        // Written down, because another id would send again what was sent by an older version.
        assert_eq!(made[0].id.to_string(), "d607610d-41ad-5dc6-82b7-b146b8f8eae6");
        assert_ne!(made[0].id, made[1].id);
    }

    #[test]
    fn only_a_new_rule_that_is_pending_asks_for_confirmation() {
        let changed = |happened: &str, status: &str| -> RuleChanged {
            let rule = json!({
                "id": Uuid::from_u128(7), "symbol": "SPY", "condition": {"price": {"above": "300"}},
                "notify": {"email": "ada@example.com"},
            });
            let change = json!({
                "rule": rule, "revision": 1, "happened": happened, "status": status, "at": "2018-04-05T00:00:00Z",
            });
            serde_json::from_value(change).expect("a change")
        };
        let made = of_rule(&changed("created", "pending"));
        assert_eq!((made[0].kind, made[0].about.clone()), (Kind::Confirmation, Uuid::from_u128(7).to_string()));
        for (happened, status) in [("created", "active"), ("confirmed", "active"), ("paused", "pending")] {
            assert!(of_rule(&changed(happened, status)).is_empty(), "{happened} {status}");
        }
    }
}
