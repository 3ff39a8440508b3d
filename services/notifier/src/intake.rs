//! Intake: events become deliveries, once each, in the transaction that advances the consumer's position.

use std::{collections::HashSet, time::Duration};

use events::{Channel, Target, Timestamp};
use futures::future::BoxFuture;
use platform::{Broker, Check, DecodeError, Message, ServiceError, Shutdown};
use store::{
    Error, Store, Tx,
    consumer::{
        position,
        runner::{ConsumerRun, lead},
        service::{Commit, ConsumerService, Decided, Plan, Publish},
    },
    notifications::{
        deliveries::{self, Delivery, Kind},
        recipients::{addresses, erased},
    },
    outbox::{LocalRelay, relay},
};
use tokio::sync::Notify;

use crate::{
    SERVICE,
    batching::{TracedNotification, batch_by_user},
    routing::{Recipient, Routed, route_alert, route_rule, route_trade, route_user},
};

/// The durable consumer of stream `RULES`.
const RULES: &str = "notifier-rules";
/// The durable consumer of stream `TRADES`.
const TRADES: &str = "notifier-trades";
/// The durable consumer of stream `USERS`.
const USERS: &str = "notifier-users";
/// The number of events that become deliveries in one transaction at most.
const BATCH: usize = 1_000;
/// The time for which events are collected before a transaction. A transaction costs more than a delivery, and nobody
/// notices so small a delay of an email.
const COLLECT_FOR: Duration = Duration::from_millis(50);
/// The time for which order news is collected, so that many orders of a user are reported in few emails.
const COLLECT_ORDERS_FOR: Duration = Duration::from_secs(1);
/// The routing of one kind of event.
type Route = fn(&Message) -> Result<Routed, DecodeError>;

/// Runs the consumers from their committed positions until one fails. The leader also publishes the outcomes that the
/// dispatchers of all instances have recorded: one publisher keeps their order.
pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    due: &Notify,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let intake = |route: Route| Intake { store: store.clone(), due, route };
    let (alerts, rules, trades, users) =
        (intake(route_alert), intake(route_rule), intake(route_trade), intake(route_user));
    // What the notifier commits is published in batches, so that its relay needs no signal.
    let local = LocalRelay::default();
    let work = async {
        let alerts = ConsumerRun::open(&alerts, store, broker, plan(SERVICE, COLLECT_FOR)).await?;
        let rules = ConsumerRun::open(&rules, store, broker, plan(RULES, COLLECT_FOR)).await?;
        let trades = ConsumerRun::open(&trades, store, broker, plan(TRADES, COLLECT_ORDERS_FOR)).await?;
        let users = ConsumerRun::open(&users, store, broker, plan(USERS, COLLECT_FOR)).await?;
        check.ready();
        tokio::select! {
            ended = async { tokio::try_join!(alerts.run(), rules.run(), trades.run(), users.run()) } => ended.map(|_| ()),
            ended = relay::run(store, &local, SERVICE, broker, Duration::ZERO, shutdown) => ended,
        }
    };
    lead(store, broker, SERVICE, check, work).await
}

fn plan(consumer: &str, gather: Duration) -> Plan {
    Plan { gather, publish: Publish::ByRelay, ..Plan::new(SERVICE, &[consumer], BATCH) }
}

/// Makes deliveries of the events of one consumer.
struct Intake<'a> {
    store: Store,
    /// Wakes the dispatcher when deliveries are due.
    due: &'a Notify,
    route: Route,
}

impl ConsumerService for Intake<'_> {
    type Event = Routed;
    type State = ();
    type Effects = Vec<TracedNotification>;
    /// Whether there are new deliveries.
    type Saved = bool;
    type Reject = DecodeError;

    async fn read_position(&self, consumer: &str, stream_created: Timestamp) -> Result<u64, ServiceError> {
        Ok(position::read(&self.store, consumer, stream_created).await?)
    }

    async fn restore(&self, _positions: &[u64]) -> Result<(), ServiceError> {
        Ok(())
    }

    fn decode(&self, _consumer: usize, message: &Message) -> Result<Routed, DecodeError> {
        (self.route)(message)
    }

    fn event_time(&self, routed: &Routed) -> Option<Timestamp> {
        Some(routed.at)
    }

    fn decide(
        &self,
        _state: &mut (),
        routed: Routed,
        message: &Message,
        decided: &mut Decided<Vec<TracedNotification>>,
    ) -> Result<(), DecodeError> {
        let traceparent = message.traceparent().map(str::to_owned);
        let traced = routed.notifications.into_iter().map(|notification| (notification, traceparent.clone()));
        decided.effects.extend(traced);
        Ok(())
    }

    fn commit(
        &self,
        _state: &mut (),
        commit: Commit<Vec<TracedNotification>>,
    ) -> BoxFuture<'static, Result<bool, Error>> {
        let store = self.store.clone();
        let is_due = !commit.effects.is_empty();
        Box::pin(async move {
            commit.in_transaction(&store, |tx, notifications| Box::pin(save(tx, notifications))).await?;
            Ok(is_due)
        })
    }

    fn committed(&self, _state: &mut (), is_due: bool) {
        if is_due {
            self.due.notify_one();
        }
    }
}

/// Saves the deliveries that follow from notifications.
async fn save(tx: &mut Tx, notifications: Vec<TracedNotification>) -> Result<(), Error> {
    if notifications.is_empty() {
        return Ok(());
    }
    let unsent = drop_already_sent(tx, notifications).await?;
    let made = resolve_addresses(tx, batch_by_user(unsent)).await?;
    deliveries::add(tx, &made).await
}

/// Drops order news that an earlier email has reported, by itself or in a batch.
async fn drop_already_sent(
    tx: &mut Tx,
    mut notifications: Vec<TracedNotification>,
) -> Result<Vec<TracedNotification>, Error> {
    let news = notifications.iter().filter(|(notification, _)| notification.kind == Kind::Trade);
    let abouts: Vec<_> = news.map(|(notification, _)| notification.about.as_str()).collect();
    if !abouts.is_empty() {
        let mut sent = deliveries::already_notified(tx, &abouts).await?;
        notifications
            .retain(|(notification, _)| notification.kind != Kind::Trade || sent.insert(notification.about.clone()));
    }
    Ok(notifications)
}

/// Resolves recipients to addresses and makes the deliveries. A recipient that was deleted gets none.
async fn resolve_addresses(tx: &mut Tx, notifications: Vec<TracedNotification>) -> Result<Vec<Delivery>, Error> {
    let person = |(notification, _): &TracedNotification| match notification.recipient {
        Recipient::Person(person) => Some(person),
        Recipient::Targets(_) => None,
    };
    let people: Vec<_> = notifications.iter().filter_map(person).collect();
    let found = if people.is_empty() { Vec::new() } else { addresses(tx, &people).await? };
    let mut found = found.into_iter();
    // An event contains the address of when it was written; its rule knows whether that was erased since.
    let rules: Vec<_> = notifications.iter().filter_map(|(notification, _)| notification.rule_id).collect();
    let erased = if rules.is_empty() { HashSet::new() } else { erased(tx, &rules).await? };
    let mut made = Vec::with_capacity(notifications.len());
    for (notification, traceparent) in &notifications {
        let targets = match &notification.recipient {
            Recipient::Targets(_) if notification.rule_id.is_some_and(|rule| erased.contains(&rule)) => Vec::new(),
            Recipient::Targets(targets) => targets.clone(),
            Recipient::Person(_) => {
                let address = found.next().flatten();
                address.map(|address| Target { channel: Channel::Email, address }).into_iter().collect()
            }
        };
        made.extend(notification.deliveries(&targets, traceparent.as_deref()));
    }
    Ok(made)
}
