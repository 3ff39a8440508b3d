//! The interface between a service and the consumer runner: what the service decides, and how a batch is committed.
//!
//! A service implements [`ConsumerService`] and describes its run in a [`Plan`]. The runner ([`runner`](super::runner))
//! calls the methods of one run in this order: `read_position` of each consumer and `begin` of those that do not go on there,
//! `restore`, `opened`; then for each batch
//! `decode` of all messages, `prepare`, `observe` and `decide` of each message, `finish`, `commit`, `committed`.

use std::{fmt::Display, future::Future, ops::Range, sync::Arc, time::Duration};

use events::{DeadLetter, OutboundMessage, Timestamp};
use futures::future::BoxFuture;
use platform::{Message, ServiceError, StreamPosition};

use crate::{
    Error, Store, Tx,
    consumer::{
        dead_letters,
        position::{self, Advance, ForgetSequences},
    },
    outbox,
};

/// The name of a durable consumer of `streams.yaml`.
pub type ConsumerName = Arc<str>;

/// A service that applies the events of its consumers.
///
/// The service itself holds the data that does not change between two runs: settings and clients of other systems. The
/// data that it derives from events is its `State`, which is restored at the beginning of each run.
pub trait ConsumerService: Sync {
    /// The decoded form of a message.
    type Event: Send;
    /// The state from which events are decided, restored from committed data.
    type State: Send;
    /// The rows that the transaction of a batch saves in addition to positions, events and dead letters.
    type Effects: Default + Send + 'static;
    /// The result of a commit, which the state receives.
    type Saved: Send + 'static;
    /// The reason why a message can never be applied.
    type Reject: Display + Send;

    /// Reads the position of a consumer; none before it has begun.
    fn read_position(
        &self,
        store: &Store,
        consumer: &str,
    ) -> impl Future<Output = Result<Option<StreamPosition>, ServiceError>> + Send {
        async move { Ok(position::read(store, consumer).await?) }
    }

    /// Saves where a consumer begins, at first and where its stream is not the one that was read.
    fn begin(
        &self,
        store: &Store,
        consumer: &str,
        was: Option<StreamPosition>,
        position: StreamPosition,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        let forget = self.forget_sequences(consumer);
        async move { Ok(position::begin(store, consumer, was, position, forget).await?) }
    }

    /// Returns how the service forgets the sequences of a consumer's stream that it has saved: where the consumer begins, they
    /// stand for other messages.
    fn forget_sequences(&self, _consumer: &str) -> Option<ForgetSequences> {
        None
    }

    /// Restores the state as of the consumers' positions.
    fn restore(&self, positions: &[u64]) -> impl Future<Output = Result<Self::State, ServiceError>> + Send;

    /// Runs after the consumers are opened. `pending` is the number of messages that each of them has yet to deliver.
    fn opened(&self, _state: &mut Self::State, _pending: &[u64]) {}

    /// Decodes a message of the consumer with this index.
    fn decode(&self, consumer: usize, message: &Message) -> Result<Self::Event, Self::Reject>;

    /// Returns the number of items of an event, each of which can be given up alone: the ticks of a page. Items are what a batch
    /// is measured in.
    fn items(&self, _event: &Self::Event) -> usize {
        1
    }

    /// Drops the items of an event that are outside of a range. Deciding an event part by part must have the effect of
    /// deciding it whole, also when a part is repeated.
    fn keep(&self, _event: &mut Self::Event, _items: &Range<usize>) {}

    /// Returns the body of a message that has one item of this one alone; none where a message has no items.
    fn item(&self, _message: &Message, _item: usize) -> Option<Vec<u8>> {
        None
    }

    /// Returns the event's own time, if it has one.
    fn event_time(&self, event: &Self::Event) -> Option<Timestamp>;

    /// Loads the data that the decisions about these events need.
    fn prepare(
        &self,
        _state: &mut Self::State,
        _events: &[&Self::Event],
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        async { Ok(()) }
    }

    /// Observes each message before it is decided, even one that cannot be decoded.
    fn observe(&self, _state: &mut Self::State, _consumer: usize, _message: &Message) {}

    /// Decides one event, and stores the result in the state or adds it to `decided`.
    fn decide(
        &self,
        state: &mut Self::State,
        event: Self::Event,
        message: &Message,
        decided: &mut Decided<Self::Effects>,
    ) -> Result<(), Self::Reject>;

    /// Runs at the end of a batch and moves the effects that the state has collected to `decided`.
    fn finish(&self, _state: &mut Self::State, _decided: &mut Decided<Self::Effects>) {}

    /// Runs periodic maintenance ([`Plan::maintain_every`]), while no batch of the run is being committed. Returns whether it has
    /// added events to the outbox, which are then published.
    fn maintain(&self, _state: &mut Self::State) -> impl Future<Output = Result<bool, ServiceError>> + Send {
        async { Ok(false) }
    }

    /// Commits a batch. The work runs in a task of its own, to its end, also when its caller is dropped.
    fn commit(
        &self,
        state: &mut Self::State,
        commit: Commit<Self::Effects>,
    ) -> BoxFuture<'static, Result<Self::Saved, Error>>;

    /// Returns whether somebody waits for what is decided: the batch is then committed at once, and otherwise gathers
    /// ([`Plan::gather`]).
    fn is_waited_for(&self, _state: &Self::State, _decided: &Decided<Self::Effects>) -> bool {
        false
    }

    /// Returns the rows of the outbox that hold the events of a batch; none where that is not known.
    fn outbox_rows(&self, _saved: &Self::Saved) -> Option<Vec<i64>> {
        None
    }

    /// Returns whether the transaction of a commit has added events of its own to the outbox.
    fn has_added_events(&self, _saved: &Self::Saved) -> bool {
        false
    }

    /// Updates the state after a commit.
    fn committed(&self, _state: &mut Self::State, _saved: Self::Saved) {}
}

/// The decisions about one batch.
#[derive(Debug, Default)]
pub struct Decided<E> {
    /// The rows that the service saves.
    pub effects: E,
    /// The events that are published after the commit.
    pub events: Vec<OutboundMessage>,
    /// The items of the event that can never be applied, and why. The others are.
    pub rejected_items: Vec<(usize, String)>,
}

/// The content of one transaction.
#[derive(Debug)]
pub struct Commit<E> {
    /// The service that owns the outbox rows and the dead letters.
    pub service: &'static str,
    /// The steps of the consumers that the batch moves.
    pub advances: Vec<Advance>,
    /// The rows that the service saves.
    pub effects: E,
    /// The events that are published after the commit.
    pub events: Vec<OutboundMessage>,
    /// The messages that can never be applied.
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

/// The configuration of a service's run: its consumers, and how they are read, decided and committed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The service that owns the outbox rows and the dead letters.
    pub service: &'static str,
    /// The durable consumers. Of two messages that were stored in the same microsecond, that of the first one goes
    /// first.
    pub consumers: Vec<ConsumerName>,
    /// The approximate number of items in one transaction: of ticks and other messages.
    pub batch: usize,
    /// The time after the start of a batch within which further messages are gathered into one next batch, unless somebody waits
    /// for it ([`ConsumerService::is_waited_for`]).
    pub gather: Duration,
    /// The consumers whose messages are left with the broker meanwhile. Those of the others end the wait.
    pub leave: &'static [usize],
    /// The number of waiting messages from which the next batch is decided while one is committed.
    pub decide_ahead_from: Option<u64>,
    /// The interval between two calls of [`ConsumerService::maintain`], if the service needs any.
    pub maintain_every: Option<Duration>,
    /// The publisher of committed events.
    pub publish: Publish,
    /// What follows from a constraint of the database that a batch breaks.
    pub on_broken_constraint: BrokenConstraint,
}

impl Plan {
    /// Returns the plan of a service that commits one batch after the other and publishes each before it is
    /// acknowledged.
    pub fn new(service: &'static str, consumers: &[&str], batch: usize) -> Self {
        Self {
            service,
            consumers: consumers.iter().map(|name| ConsumerName::from(*name)).collect(),
            batch,
            gather: Duration::ZERO,
            leave: &[],
            decide_ahead_from: None,
            maintain_every: None,
            publish: Publish::BeforeAcknowledge,
            on_broken_constraint: BrokenConstraint::RejectMessage,
        }
    }
}

/// The publisher of the events that a batch has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// The run itself publishes, before it acknowledges the batch.
    BeforeAcknowledge,
    /// The run publishes from memory while it goes on with the next batch, and acknowledges what was published.
    WhileDeciding,
    /// A relay ([`outbox::relay::run`]) publishes concurrently.
    ByRelay,
}

/// What follows from a constraint of the database that a batch breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenConstraint {
    /// The message that breaks it becomes a dead letter.
    RejectMessage,
    /// The state in memory is wrong, and no message is: the state is restored and the batch is tried once more, after which
    /// the run ends with a permanent error. The constraints of the ledger guard money, which is never a dead letter.
    Stop,
}
