//! Intake: events become deliveries, once each, in the transaction that advances the consumer's position.

use std::time::Duration;

use events::Timestamp;
use futures::future::BoxFuture;
use platform::{Broker, Check, DecodeError, Message, ServiceError, Shutdown};
use store::{
    Error, Store,
    consumer::{
        runner::{ConsumerRun, lead},
        service::{Commit, ConsumerService, Decided, Plan, Publish},
    },
    outbox::relay,
};
use tokio::sync::Notify;

use crate::{
    SERVICE,
    batching::TracedNotification,
    notifications::save,
    routing::{Routed, RoutingError, route_alert, route_rule, route_trade, route_user},
    silence,
};

/// The durable consumer of stream `RULES`.
const RULES: &str = "notifier-rules";
/// The durable consumer of stream `TRADES`.
const TRADES: &str = "notifier-trades";
/// The durable consumer of stream `USERS`.
const USERS: &str = "notifier-users";
/// The number of events that become deliveries in one transaction at most.
const BATCH: usize = 1_000;
/// The time for which alerts are collected before a transaction, because a transaction costs more than a delivery.
const COLLECT_ALERTS_FOR: Duration = Duration::from_millis(5);
/// The time for which other events are collected. Nobody notices so small a delay of an email about an account.
const COLLECT_FOR: Duration = Duration::from_millis(50);
/// The time for which order news is collected, so that many orders of a user are reported in few emails.
const COLLECT_ORDERS_FOR: Duration = Duration::from_secs(1);
/// The routing of one kind of event.
type Route = fn(&Message) -> Result<Routed, DecodeError>;

/// Runs the consumers from their committed positions until one fails. The leader also checks for silent markets, and
/// publishes the outcomes that the dispatchers of all instances have recorded: one publisher keeps their order.
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
    let work = Box::pin(async {
        let alerts = ConsumerRun::open(&alerts, store, broker, plan(SERVICE, COLLECT_ALERTS_FOR)).await?;
        let rules = ConsumerRun::open(&rules, store, broker, plan(RULES, COLLECT_FOR)).await?;
        let trades = ConsumerRun::open(&trades, store, broker, plan(TRADES, COLLECT_ORDERS_FOR)).await?;
        let users = ConsumerRun::open(&users, store, broker, plan(USERS, COLLECT_FOR)).await?;
        check.ready();
        tokio::select! {
            ended = async { tokio::try_join!(alerts.run(check), rules.run(check), trades.run(check), users.run(check)) } => ended.map(|_| ()),
            ended = relay::run(store, SERVICE, broker, Duration::ZERO, shutdown) => ended,
            ended = silence::run(store, due) => ended.map(|never| match never {}),
        }
    });
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
    type Reject = RoutingError;

    async fn restore(&self, _positions: &[u64]) -> Result<(), ServiceError> {
        Ok(())
    }

    fn decode(&self, _consumer: usize, message: &Message) -> Result<Routed, RoutingError> {
        let routed = (self.route)(message)?;
        routed.check()?;
        Ok(routed)
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
    ) -> Result<(), RoutingError> {
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
