//! The consumer runner: how every service that consumes streams loses nothing and does nothing twice.
//!
//! A service says what it decides about an event, what it saves, and where its position lives ([`ConsumerService`]). The
//! runner owns the order of everything else:
//!
//! 1. **Leadership.** [`lead`] waits until this instance holds the service's leader lock. The lock only saves two instances
//!    from doing the same work; it is not what keeps them from doing it twice.
//! 2. **Outbox.** Events that a run before this one has committed and not published are published first, so that the order
//!    of publication is the order of commits.
//! 3. **Position.** [`ConsumerRun::open`] reads how far each durable consumer has been applied, lets the service restore its
//!    state as of these positions, and resets the broker's consumers to them. What was delivered to a process that died is
//!    therefore delivered again, from exactly the next event on. The broker's own idea of what is acknowledged is not used.
//! 4. **Decide.** The events of a batch are decided one at a time, in the order in which the broker stored them. Deciding
//!    changes nothing but the state in memory.
//! 5. **Commit.** One transaction holds the effects, the events that follow from them, the dead letters and the new
//!    positions, on condition that the positions are still where this run had read or committed them. A second instance
//!    that was faster has moved them: the transaction then fails as a whole ([`Error::Fenced`]), and the run ends. So an
//!    effect is saved exactly when its event counts as applied, however often the event is delivered.
//! 6. **Publish.** What is committed is published from the outbox, under ids that are derived from its cause, so that the
//!    broker and every reader recognise a repeat.
//! 7. **Acknowledge.** Last, the broker is told how far the consumer is. This serves those who watch its lag.
//!
//! A crash between 5 and 6 leaves events in the outbox, which step 2 of the next run publishes. A crash between 6 and 7
//! leaves an acknowledgement unsent, which costs nothing because of step 3. A message that cannot be read, or asks for what
//! can never be done, becomes a dead letter within step 5 and is not tried again. Any other failure ends the run; the
//! caller supervises it and begins a new one, which starts from what is committed. There is no other recovery path.

use std::{convert::Infallible, fmt::Display, future::Future, mem, pin::pin, sync::Arc, time::Duration};

use events::{DeadLetter, OutboundMessage, Timestamp};
use futures::future::{BoxFuture, OptionFuture};
use platform::{Broker, Check, Message, OrderedConsumer, ServiceError, StreamMerge, telemetry::gauge::set_gauge};
use tokio::time::{Instant, Interval, interval, timeout_at};

use crate::{
    Error, Store, Tx,
    consumer::{
        dead_letters, leader_lock,
        position::{self, Advance},
    },
    outbox::{self, relay},
};

/// The name of a durable consumer of `streams.yaml`.
pub type ConsumerName = Arc<str>;

/// What a service does with the events of its consumers.
///
/// The service itself holds what does not change between two runs: settings and doors to outside systems. What it
/// remembers of the events is its `State`, which is restored at the beginning of each run.
pub trait ConsumerService: Sync {
    /// A decoded message.
    type Event: Send;
    /// What decisions are made from, restored from what is committed.
    type State: Send;
    /// What the transaction of a batch holds besides positions, events to publish and dead letters.
    type Effects: Default + Send + 'static;
    /// What a committed batch hands back to the state.
    type Saved: Send + 'static;
    /// Why a message can never be applied.
    type Reject: Display + Send;

    /// Reads the sequence that a consumer has applied last of the stream that was created at `stream_created`; 0 if none.
    fn read_position(
        &self,
        consumer: &str,
        stream_created: Timestamp,
    ) -> impl Future<Output = Result<u64, ServiceError>> + Send;

    /// Restores the state as of the consumers' positions.
    fn restore(&self, positions: &[u64]) -> impl Future<Output = Result<Self::State, ServiceError>> + Send;

    /// Follows the opening of the consumers. `pending` is the number of messages that each of them has yet to deliver.
    fn opened(&self, _state: &mut Self::State, _pending: &[u64]) {}

    /// Decodes a message of the consumer with this index.
    fn decode(&self, consumer: usize, message: &Message) -> Result<Self::Event, Self::Reject>;

    /// The event's own time, where it has one.
    fn event_time(&self, event: &Self::Event) -> Option<Timestamp>;

    /// Looks up what the decisions about these events need.
    fn prepare(
        &self,
        _state: &mut Self::State,
        _events: &[&Self::Event],
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        async { Ok(()) }
    }

    /// Notes that a message is next, before it is decided, and also when it cannot be decoded.
    fn observe(&self, _state: &mut Self::State, _consumer: usize, _message: &Message) {}

    /// Decides about one event. What follows from it is kept in the state or added to `decided`.
    fn decide(
        &self,
        state: &mut Self::State,
        event: Self::Event,
        message: &Message,
        decided: &mut Decided<Self::Effects>,
    ) -> Result<(), Self::Reject>;

    /// Follows the end of a batch: what the state has kept of its effects moves to `decided`.
    fn finish(&self, _state: &mut Self::State, _decided: &mut Decided<Self::Effects>) {}

    /// Does what is due from time to time ([`Plan::maintain_every`]), while nothing of the run is being committed.
    fn maintain(&self, _state: &mut Self::State) -> impl Future<Output = Result<(), ServiceError>> + Send {
        async { Ok(()) }
    }

    /// Commits a batch. The work runs in a task of its own, to its end, also when its caller is dropped.
    fn commit(
        &self,
        state: &mut Self::State,
        commit: Commit<Self::Effects>,
    ) -> BoxFuture<'static, Result<Self::Saved, Error>>;

    /// Follows a commit.
    fn committed(&self, _state: &mut Self::State, _saved: Self::Saved) {}
}

/// What was decided about a batch.
#[derive(Debug, Default)]
pub struct Decided<E> {
    /// What the service saves.
    pub effects: E,
    /// What is published once it is committed.
    pub events: Vec<OutboundMessage>,
}

/// What one transaction is to hold.
#[derive(Debug)]
pub struct Commit<E> {
    /// The service that owns the outbox rows and the dead letters.
    pub service: &'static str,
    /// How far the batch takes its consumers.
    pub advances: Vec<Advance>,
    /// What the service saves.
    pub effects: E,
    /// What is published once it is committed.
    pub events: Vec<OutboundMessage>,
    /// Messages that can never be applied.
    pub dead_letters: Vec<DeadLetter>,
}

impl<E: Send + 'static> Commit<E> {
    /// Commits the batch in one transaction of PostgreSQL, in which `save` writes the effects.
    pub async fn in_transaction<T, W>(self, store: &Store, save: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'tx> FnOnce(&'tx mut Tx, E) -> BoxFuture<'tx, Result<T, Error>> + Send + 'static,
    {
        let Self { service, advances, effects, events, dead_letters } = self;
        store
            .transaction(move |tx| {
                Box::pin(async move {
                    position::advance(tx, &advances).await?;
                    let saved = save(tx, effects).await?;
                    dead_letters::add(tx, service, &dead_letters).await?;
                    outbox::add(tx, service, &events).await?;
                    Ok(saved)
                })
            })
            .await
    }
}

/// How the consumers of a service are read, decided and committed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The service that owns the outbox rows and the dead letters.
    pub service: &'static str,
    /// The durable consumers. Of two messages that were stored in the same microsecond, that of the first one goes first.
    pub consumers: Vec<ConsumerName>,
    /// The number of messages that one transaction holds, about.
    pub batch: usize,
    /// How long after the begin of a batch further messages join the next one instead of making one of their own.
    pub gather: Duration,
    /// The number of waiting messages from which the next batch is decided while one is committed.
    pub decide_ahead_from: Option<u64>,
    /// How often [`ConsumerService::maintain`] is called, where the service has something to maintain.
    pub maintain_every: Option<Duration>,
    /// Who publishes what is committed.
    pub publish: Publish,
}

impl Plan {
    /// Returns the plan of a service that commits one batch after the other and publishes each before it is acknowledged.
    pub fn new(service: &'static str, consumers: &[&str], batch: usize) -> Self {
        Self {
            service,
            consumers: consumers.iter().map(|name| ConsumerName::from(*name)).collect(),
            batch,
            gather: Duration::ZERO,
            decide_ahead_from: None,
            maintain_every: None,
            publish: Publish::BeforeAcknowledge,
        }
    }
}

/// Who publishes what a batch has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// The run itself, before it acknowledges the batch.
    BeforeAcknowledge,
    /// A relay ([`relay::run`]) that runs beside it.
    ByRelay,
}

/// Waits for the leadership of `service` and does `work` until it ends or the leadership is lost.
pub async fn lead<T>(
    store: &Store,
    broker: &Broker,
    service: &'static str,
    check: &Check,
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    let mut leader_lock = leader_lock::acquire(store, service, check).await?;
    relay::publish_pending(store, service, broker).await?;
    tokio::select! {
        error = leader_lock.lost() => Err(error),
        ended = work => ended,
    }
}

/// One run of a service's consumers: from the committed positions on, until something fails.
pub struct ConsumerRun<'a, S: ConsumerService> {
    service: &'a S,
    store: &'a Store,
    broker: &'a Broker,
    plan: Plan,
    state: S::State,
    streams: StreamMerge,
    /// Where the last batch ends, which is committed or about to be.
    positions: Vec<u64>,
}

/// A batch that is decided and not committed.
struct Batch<E> {
    decided: Decided<E>,
    dead_letters: Vec<DeadLetter>,
    progress: Vec<Option<Progress>>,
    messages: usize,
    began: Instant,
}

/// How far a batch takes one consumer.
#[derive(Debug, Clone, Copy)]
struct Progress {
    sequence: u64,
    event_time: Option<Timestamp>,
}

/// What remains to be done once a batch is committed.
struct Committed<T> {
    saved: T,
    progress: Vec<Option<Progress>>,
    publishes: bool,
    messages: usize,
    began: Instant,
}

impl<'a, S: ConsumerService> ConsumerRun<'a, S> {
    /// Reads the positions, restores the state and opens the consumers. The caller holds the service's leadership.
    pub async fn open(
        service: &'a S,
        store: &'a Store,
        broker: &'a Broker,
        plan: Plan,
    ) -> Result<ConsumerRun<'a, S>, ServiceError> {
        let mut positions = Vec::with_capacity(plan.consumers.len());
        for consumer in &plan.consumers {
            let created = OrderedConsumer::stream_created(broker, consumer).await?;
            positions.push(service.read_position(consumer, created).await?);
        }
        let mut state = service.restore(&positions).await?;
        let mut consumers = Vec::with_capacity(plan.consumers.len());
        for (consumer, position) in plan.consumers.iter().zip(&positions) {
            consumers.push(OrderedConsumer::open(broker, consumer, *position).await?);
        }
        tracing::info!(service = plan.service, consumers = ?plan.consumers, ?positions, "state restored");
        let streams = StreamMerge::new(consumers);
        let pending: Vec<u64> = (0..positions.len()).map(|index| streams.lag(index)).collect();
        service.opened(&mut state, &pending);
        Ok(Self { service, store, broker, plan, state, streams, positions })
    }

    /// Takes batch after batch through to its acknowledgement. What arrives while one is committed is the next one; only
    /// where many wait is the next one decided meanwhile.
    pub async fn run(mut self) -> Result<Infallible, ServiceError> {
        let mut commit = pin!(OptionFuture::from(None));
        let mut gather_until = Instant::now();
        let mut maintenance = self.plan.maintain_every.map(interval);
        loop {
            if !self.decides_ahead()
                && let Some(committed) = commit.as_mut().await
            {
                commit.set(None.into());
                self.finish(committed?).await?;
            }
            let messages = tokio::select! {
                Some(committed) = &mut commit => {
                    commit.set(None.into());
                    self.finish(committed?).await?;
                    continue;
                }
                () = tick(&mut maintenance), if self.plan.decide_ahead_from.is_none() => {
                    self.service.maintain(&mut self.state).await?;
                    continue;
                }
                messages = self.streams.next(self.plan.batch) => messages?,
            };
            let batch = self.decide(messages, gather_until).await?;
            gather_until = batch.began + self.plan.gather;
            if let Some(committed) = commit.as_mut().await {
                commit.set(None.into());
                self.finish(committed?).await?;
            }
            commit.set(Some(self.commit(batch)).into());
        }
    }

    fn decides_ahead(&self) -> bool {
        self.plan.decide_ahead_from.is_some_and(|waiting| self.lag() >= waiting)
    }

    /// The number of messages that are stored and not decided, as far as that is known.
    fn lag(&self) -> u64 {
        (0..self.positions.len()).map(|consumer| self.streams.lag(consumer)).sum()
    }

    /// Decides about these messages, and about those that arrive until `gather_until`. Each is decided when it arrives, so
    /// that no wave of work delays what others in the process wait for.
    async fn decide(
        &mut self,
        messages: Vec<(usize, Message)>,
        gather_until: Instant,
    ) -> Result<Batch<S::Effects>, ServiceError> {
        let mut batch = Batch {
            decided: Decided { effects: S::Effects::default(), events: Vec::new() },
            dead_letters: Vec::new(),
            progress: vec![None; self.positions.len()],
            messages: 0,
            began: Instant::now(),
        };
        self.decide_messages(messages, &mut batch).await?;
        while !self.plan.gather.is_zero() && batch.messages < self.plan.batch {
            let most = self.plan.batch - batch.messages;
            match timeout_at(gather_until, self.streams.next(most)).await {
                Ok(messages) => self.decide_messages(messages?, &mut batch).await?,
                Err(_) => break,
            }
        }
        self.service.finish(&mut self.state, &mut batch.decided);
        if !self.plan.gather.is_zero() {
            batch.began = Instant::now();
        }
        Ok(batch)
    }

    async fn decide_messages(
        &mut self,
        messages: Vec<(usize, Message)>,
        batch: &mut Batch<S::Effects>,
    ) -> Result<(), ServiceError> {
        let events: Vec<_> = messages.iter().map(|(index, message)| self.service.decode(*index, message)).collect();
        let readable: Vec<_> = events.iter().filter_map(|event| event.as_ref().ok()).collect();
        self.service.prepare(&mut self.state, &readable).await?;
        batch.messages += messages.len();
        for ((consumer, message), event) in messages.iter().zip(events) {
            let event_time = event.as_ref().ok().and_then(|event| self.service.event_time(event));
            let before = batch.progress[*consumer].and_then(|progress| progress.event_time);
            batch.progress[*consumer] =
                Some(Progress { sequence: message.sequence, event_time: event_time.or(before) });
            self.service.observe(&mut self.state, *consumer, message);
            let decided =
                event.and_then(|event| self.service.decide(&mut self.state, event, message, &mut batch.decided));
            if let Err(reason) = decided {
                let stream = self.streams.stream(*consumer);
                batch.dead_letters.push(message.dead_letter(self.plan.service, stream, &reason));
            }
        }
        Ok(())
    }

    /// Begins to commit a batch; from here on the next one may be decided.
    fn commit(
        &mut self,
        batch: Batch<S::Effects>,
    ) -> impl Future<Output = Result<Committed<S::Saved>, Error>> + use<S> {
        let Batch { decided: Decided { effects, events }, dead_letters, progress, messages, began } = batch;
        let mut advances = Vec::with_capacity(progress.len());
        for (index, progress) in progress.iter().enumerate() {
            if let Some(Progress { sequence, event_time }) = *progress {
                let from = mem::replace(&mut self.positions[index], sequence);
                let consumer = self.plan.consumers[index].clone();
                advances.push(Advance { consumer, from, to: sequence, last_event_at: event_time });
            }
        }
        let publishes = !events.is_empty() || !dead_letters.is_empty();
        let commit = Commit { service: self.plan.service, advances, effects, events, dead_letters };
        let saving = self.service.commit(&mut self.state, commit);
        async move {
            let saved = saving.await?;
            Ok(Committed { saved, progress, publishes, messages, began })
        }
    }

    /// Publishes and acknowledges what is committed.
    async fn finish(&mut self, committed: Committed<S::Saved>) -> Result<(), ServiceError> {
        let Committed { saved, progress, publishes, messages, began } = committed;
        self.service.committed(&mut self.state, saved);
        if publishes && self.plan.publish == Publish::BeforeAcknowledge {
            relay::publish_pending(self.store, self.plan.service, self.broker).await?;
        }
        for (index, progress) in progress.iter().enumerate() {
            let consumer = self.plan.consumers[index].clone();
            if let Some(progress) = progress {
                self.streams.acknowledge(index, progress.sequence).await;
            }
            set_gauge(&metrics::gauge!("tickbell_consumer_lag", "consumer" => consumer), self.streams.lag(index));
        }
        let consumer = &self.plan.consumers[0];
        metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => consumer.clone()).record(began.elapsed());
        metrics::histogram!("tickbell_batch_messages", "consumer" => consumer.clone()).record(messages as f64); // float: a histogram's
        Ok(())
    }
}

/// Waits for the next tick of an interval, without end where there is none.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => _ = interval.tick().await,
        None => std::future::pending().await,
    }
}
