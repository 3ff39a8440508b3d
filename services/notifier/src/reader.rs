//! Events become deliveries, once each, in the transaction that moves the position.

use std::{collections::HashSet, mem, time::Duration};

use events::{Channel, DeadLetter, Target, Timestamp};
use platform::{
    Batch, Broker, Check, Message, OrderedConsumer, ServiceError, Shutdown, broker::ordered_consumer::DecodeError,
};
use store::{
    Store, Tx,
    consumer::{
        dead_letters, leader_lock,
        position::{self, Advance, advance},
    },
    notifications::{
        deliveries::{self, Delivery, Kind},
        recipients::{addresses, erased},
    },
    outbox::relay,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    SERVICE,
    telling::{Decided, To, Told, of_alert, of_rule, of_trade, of_user, together},
};

/// The durable consumer of stream `RULES`.
const RULES: &str = "notifier-rules";
/// The durable consumer of stream `TRADES`.
const TRADES: &str = "notifier-trades";
/// The durable consumer of stream `USERS`.
const USERS: &str = "notifier-users";
/// How many events become deliveries in one transaction at most.
const BATCH: usize = 1_000;
/// What comes so soon after a transaction waits for the next one: a transaction costs more than a delivery, and nobody
/// sees a mail come later by so little.
const GATHER: Duration = Duration::from_millis(50);
/// What becomes of orders comes in swarms, which are told in few mails.
const GATHER_ORDERS: Duration = Duration::from_secs(1);
/// What is decided about one message.
type Decide = fn(&Message) -> Result<Decided, DecodeError>;

/// One session: from the committed positions on, until something fails. It also publishes what every process's sender
/// has recorded: only the owner of the work may, so that the order is kept.
pub(crate) async fn session(
    broker: &Broker,
    store: &Store,
    check: &Check,
    due: &Notify,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut leader_lock = leader_lock::acquire(&store, SERVICE, check).await?;
    let alerts = Reader::open(broker, store, due, SERVICE).await?;
    let rules = Reader::open(broker, store, due, RULES).await?;
    let trades = Reader::open(broker, store, due, TRADES).await?;
    let users = Reader::open(broker, store, due, USERS).await?;
    check.ready();
    let work = async {
        tokio::try_join!(
            alerts.follow(of_alert, GATHER),
            rules.follow(of_rule, GATHER),
            trades.follow(of_trade, GATHER_ORDERS),
            users.follow(of_user, GATHER),
            relay::run(&store, deliveries::SERVICE, broker, Duration::ZERO, shutdown),
        )
    };
    tokio::select! {
        ended = work => ended.map(|_| ()),
        fault = leader_lock.lost() => Err(fault),
    }
}

/// One durable consumer and how far it is committed.
struct Reader<'a> {
    store: &'a Store,
    due: &'a Notify,
    consumer: &'static str,
    feed: OrderedConsumer,
    position: u64,
}

/// What is decided about some events and not committed.
#[derive(Default)]
struct Gathered {
    /// Where they end.
    batch: Batch,
    events: usize,
    told: Vec<(Told, Option<String>)>,
    dead: Vec<DeadLetter>,
    last_event_at: Option<Timestamp>,
}

impl<'a> Reader<'a> {
    async fn open(
        broker: &Broker,
        store: &'a Store,
        due: &'a Notify,
        consumer: &'static str,
    ) -> Result<Self, ServiceError> {
        let position =
            position::read(&store, consumer, OrderedConsumer::stream_created(broker, consumer).await?).await?;
        let feed = OrderedConsumer::open(broker, consumer, position).await?;
        Ok(Self { store, due, consumer, feed, position })
    }

    /// Takes what is gathered through to its acknowledgement, again and again.
    async fn follow(mut self, decide: Decide, gather: Duration) -> Result<(), ServiceError> {
        let mut until = Instant::now();
        loop {
            let gathered = self.gather(decide, until).await;
            let began = Instant::now();
            let batch = self.commit(gathered).await?;
            self.feed.acknowledge(&batch).await;
            metrics::gauge!("tickbell_consumer_lag", "consumer" => self.consumer).set(self.feed.pending() as f64); // float: a gauge is one
            metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => self.consumer).record(began.elapsed());
            until = began + gather;
        }
    }

    /// Decides about at least one event, and about those that come until a time; about as many as a transaction takes at
    /// most. Each is decided about when it comes: that is less work at once, beside which orders are waited for.
    async fn gather(&mut self, decide: Decide, until: Instant) -> Gathered {
        let mut gathered = Gathered { batch: self.feed.next(BATCH).await, ..Gathered::default() };
        self.decide(&mut gathered, decide);
        while gathered.events < BATCH
            && let Ok(batch) = timeout_at(until, self.feed.next(BATCH - gathered.events)).await
        {
            gathered.batch = batch;
            self.decide(&mut gathered, decide);
        }
        gathered
    }

    fn decide(&self, gathered: &mut Gathered, decide: Decide) {
        for message in mem::take(&mut gathered.batch.messages) {
            gathered.events += 1;
            match decide(&message) {
                Ok(decided) => {
                    gathered.last_event_at = Some(decided.at);
                    let traceparent = message.traceparent().map(str::to_owned);
                    gathered.told.extend(decided.told.into_iter().map(|told| (told, traceparent.clone())));
                }
                Err(reason) => gathered.dead.push(message.dead_letter(SERVICE, self.feed.stream(), &reason)),
            }
        }
    }

    async fn commit(&mut self, gathered: Gathered) -> Result<Batch, ServiceError> {
        let Gathered { batch, told, dead, last_event_at, events: _ } = gathered;
        let done = Advance { consumer: self.consumer.into(), from: self.position, to: batch.last, last_event_at };
        let wake = !told.is_empty();
        self.store
            .transaction(move |tx| {
                Box::pin(async move {
                    advance(tx, &[done]).await?;
                    if !told.is_empty() {
                        let untold = untold(tx, told).await?;
                        let made = addressed(tx, together(untold)).await?;
                        deliveries::add(tx, &made).await?;
                    }
                    dead_letters::add(tx, SERVICE, &dead).await
                })
            })
            .await?;
        self.position = batch.last;
        if wake {
            self.due.notify_one();
        }
        Ok(batch)
    }
}

/// Without what becomes of orders and was told before, by itself or with others.
async fn untold(
    tx: &mut Tx,
    mut told: Vec<(Told, Option<String>)>,
) -> Result<Vec<(Told, Option<String>)>, store::Error> {
    let trades = told.iter().filter(|(told, _)| told.kind == Kind::Trade);
    let abouts: Vec<_> = trades.map(|(told, _)| told.about.as_str()).collect();
    if !abouts.is_empty() {
        let mut before = deliveries::already_notified(tx, &abouts).await?;
        told.retain(|(told, _)| told.kind != Kind::Trade || before.insert(told.about.clone()));
    }
    Ok(told)
}

/// Deliveries to everybody who is told; whoever is gone is not.
async fn addressed(tx: &mut Tx, told: Vec<(Told, Option<String>)>) -> Result<Vec<Delivery>, store::Error> {
    let person = |(told, _): &(Told, _)| match told.to {
        To::Person(person) => Some(person),
        To::Targets(_) => None,
    };
    let people: Vec<_> = told.iter().filter_map(person).collect();
    let found = if people.is_empty() { Vec::new() } else { addresses(tx, &people).await? };
    let mut found = found.into_iter();
    // What an event says about an address was true when it was written; its rule says whether it still is.
    let rules: Vec<_> = told.iter().filter_map(|(told, _)| told.rule_id).collect();
    let erased = if rules.is_empty() { HashSet::new() } else { erased(tx, &rules).await? };
    let mut made = Vec::with_capacity(told.len());
    for (told, traceparent) in &told {
        let targets = match &told.to {
            To::Targets(_) if told.rule_id.is_some_and(|rule| erased.contains(&rule)) => Vec::new(),
            To::Targets(targets) => targets.clone(),
            To::Person(_) => {
                let address = found.next().flatten();
                address.map(|address| Target { channel: Channel::Email, address }).into_iter().collect()
            }
        };
        made.extend(told.deliveries(&targets, traceparent.as_deref()));
    }
    Ok(made)
}
