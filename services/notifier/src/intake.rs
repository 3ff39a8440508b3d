//! Intake: events become deliveries, once each, in the transaction that advances the consumer's position.

use std::{future::pending, panic::resume_unwind, time::Duration};

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
use tokio::{sync::Notify, task::JoinError};

use crate::{
    SERVICE,
    batching::TracedNotification,
    dispatcher::Dispatcher,
    notifications::{NewDeliveries, Room, save},
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
/// The time for which events other than alerts are collected. Nobody notices so small a delay of an email about an account.
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
    dispatcher: &Dispatcher,
    due: &Notify,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let intake = |route: Route| Intake { store: store.clone(), dispatcher, due, route };
    let (alerts, rules, trades, users) =
        (intake(route_alert), intake(route_rule), intake(route_trade), intake(route_user));
    let work = Box::pin(async {
        let alerts = ConsumerRun::open(&alerts, store, broker, plan(SERVICE, Duration::ZERO)).await?;
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
    /// Attempts deliveries as soon as they are saved, where it has room.
    dispatcher: &'a Dispatcher,
    /// Wakes the dispatcher when deliveries are due.
    due: &'a Notify,
    route: Route,
}

impl ConsumerService for Intake<'_> {
    type Event = Routed;
    type State = ();
    type Effects = Vec<TracedNotification>;
    /// Whether there are new deliveries that nobody attempts yet.
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
        let (store, dispatcher) = (self.store.clone(), self.dispatcher.clone());
        let slots = dispatcher.reserve(commit.effects.len());
        let room = Room { attempts: slots.len(), lease: dispatcher.lease() };
        // A task of its own: deliveries that are claimed and then left alone would wait until the claim ends.
        let saving = tokio::spawn(async move {
            let NewDeliveries { claims, are_due } =
                commit.in_transaction(&store, move |tx, made| Box::pin(save(tx, made, room))).await?;
            dispatcher.attempt(claims, slots);
            Ok::<_, Error>(are_due)
        });
        Box::pin(async move {
            match saving.await.map_err(JoinError::try_into_panic) {
                Ok(saved) => saved,
                Err(Ok(panic)) => resume_unwind(panic),
                // The process ends.
                Err(Err(_)) => pending().await,
            }
        })
    }

    fn committed(&self, _state: &mut (), is_due: bool) {
        if is_due {
            self.due.notify_one();
        }
    }
}
