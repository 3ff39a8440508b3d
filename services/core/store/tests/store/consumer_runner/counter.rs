//! The service that the tests run: it counts the messages of a stream and publishes the count after each.

use std::mem;

use events::{OutboundMessage, Timestamp, envelope::NATS_MSG_ID, streams::Topology};
use futures::future::BoxFuture;
use platform::{Broker, Message, ServiceError, broker::topology};
use sqlx::AssertSqlSafe;
use store::{
    Error, Store, Tx,
    consumer::service::{Commit, ConsumerService, Decided},
    outbox,
};
use tokio::sync::watch;

pub(super) const SERVICE: &str = "counter";
/// A consumer of stream `ALERTS`, whose messages are named `alerts.<number>` here.
pub(super) const CONSUMER: &str = "notifier";
/// The number that cannot be counted.
pub(super) const UNCOUNTABLE: u64 = 0;
/// The number at which the counter panics.
pub(super) const PANICKING: u64 = 13;
/// The table that holds the effects. It accepts a number twice, so that a repeat shows.
pub(super) const TABLE: &str = "CREATE TABLE counted (number bigint NOT NULL, count bigint NOT NULL)";

/// The work of one commit.
pub(super) type Saving = BoxFuture<'static, Result<Saved, Error>>;

/// What a commit has saved.
pub(super) struct Saved {
    /// The last sequence of the batch.
    last: u64,
    /// The rows of its events, where they are known.
    rows: Option<Vec<i64>>,
}

/// When a run ends by itself. It then has published and acknowledged what it has committed.
pub(super) enum Until {
    /// When everything up to a sequence is applied.
    Applied(u64),
    /// When the broker has stored that everything is acknowledged.
    Acknowledged(Box<Broker>),
}

/// Counts the messages of [`CONSUMER`] in the table.
pub(super) struct Counter {
    pub(super) store: Store,
    pub(super) until: Until,
    /// Does something before or after the transaction of a batch whose last sequence is given.
    pub(super) around_commit: Box<dyn Fn(Saving, u64) -> Saving + Send + Sync>,
    /// Whether it knows the rows of its events, which are then published from memory, and asks for what else is in the outbox.
    pub(super) knows_rows: bool,
    /// Whether it panics at [`PANICKING`].
    pub(super) panics: bool,
    /// The sequences of the messages that are decided.
    pub(super) decided: watch::Sender<Vec<u64>>,
}

/// What the counter knows while it runs.
pub(super) struct State {
    count: i64,
    applied: u64,
}

impl Counter {
    /// Makes a counter that runs until everything up to a sequence is applied.
    pub(super) fn new(store: &Store, until: u64) -> Self {
        Self {
            store: store.clone(),
            until: Until::Applied(until),
            around_commit: Box::new(|saving, _| saving),
            knows_rows: false,
            panics: false,
            decided: watch::Sender::default(),
        }
    }

    pub(super) fn decided(&self) -> Vec<u64> {
        self.decided.borrow().clone()
    }
}

/// Returns the message that is published when a number is counted.
pub(super) fn counted(number: u64, count: i64) -> OutboundMessage {
    let id = format!("counted/{number}");
    let headers = vec![(NATS_MSG_ID.to_owned(), id.clone())];
    OutboundMessage { subject: format!("trades.{number}.{count}"), id, headers, body: Vec::new() }
}

impl ConsumerService for Counter {
    type Event = u64;
    type State = State;
    type Effects = Vec<(i64, i64)>;
    type Saved = Saved;
    type Reject = String;

    async fn restore(&self, positions: &[u64]) -> Result<State, ServiceError> {
        let count = self.store.transaction(|tx| Box::pin(read_count(tx))).await?;
        Ok(State { count, applied: positions[0] })
    }

    fn decode(&self, _consumer: usize, message: &Message) -> Result<u64, String> {
        let name = message.subject.trim_start_matches("alerts.");
        name.parse().map_err(|_| format!("{name} is not a number"))
    }

    fn event_time(&self, _number: &u64) -> Option<Timestamp> {
        None
    }

    fn observe(&self, _state: &mut State, _consumer: usize, message: &Message) {
        self.decided.send_modify(|decided| decided.push(message.sequence));
    }

    fn decide(
        &self,
        state: &mut State,
        number: u64,
        _message: &Message,
        decided: &mut Decided<Vec<(i64, i64)>>,
    ) -> Result<(), String> {
        if number == UNCOUNTABLE {
            return Err(format!("{number} is not counted"));
        }
        assert!(!self.panics || number != PANICKING, "{number} brings bad luck");
        state.count += 1;
        decided.effects.push((number as i64, state.count));
        decided.events.push(counted(number, state.count));
        Ok(())
    }

    async fn maintain(&self, state: &mut State) -> Result<bool, ServiceError> {
        let done = match &self.until {
            Until::Applied(sequence) => state.applied >= *sequence,
            Until::Acknowledged(broker) => unacknowledged(broker).await == 0,
        };
        if done { Err(ServiceError::permanent("count", "the test has seen enough")) } else { Ok(self.knows_rows) }
    }

    fn commit(&self, _state: &mut State, mut commit: Commit<Vec<(i64, i64)>>) -> Saving {
        let store = self.store.clone();
        let last = commit.advances[0].to.sequence;
        let events = self.knows_rows.then(|| mem::take(&mut commit.events));
        let saving = async move {
            let rows = commit.in_transaction(&store, |tx, counted| Box::pin(save(tx, counted, events))).await?;
            Ok(Saved { last, rows })
        };
        (self.around_commit)(Box::pin(saving), last)
    }

    fn has_added_events(&self, saved: &Saved) -> bool {
        saved.rows.is_some()
    }

    fn outbox_rows(&self, saved: &Saved) -> Option<Vec<i64>> {
        saved.rows.clone()
    }

    fn committed(&self, state: &mut State, saved: Saved) {
        state.applied = saved.last;
    }
}

async fn read_count(tx: &mut Tx) -> Result<i64, Error> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM counted").fetch_one(&mut **tx).await?)
}

/// Saves what is counted, and the events where there are any, whose rows it returns.
async fn save(
    tx: &mut Tx,
    counted: Vec<(i64, i64)>,
    events: Option<Vec<OutboundMessage>>,
) -> Result<Option<Vec<i64>>, Error> {
    for (number, count) in counted {
        let insert = format!("INSERT INTO counted VALUES ({number}, {count})");
        sqlx::query(AssertSqlSafe(insert)).execute(&mut **tx).await?;
    }
    let Some(events) = events else { return Ok(None) };
    outbox::add_without_notify(tx, SERVICE, &events).await?;
    let ids: Vec<String> = events.into_iter().map(|event| event.id).collect();
    let rows = sqlx::query_scalar("SELECT id FROM outbox WHERE message_id = ANY($1) ORDER BY id");
    Ok(Some(rows.bind(ids).fetch_all(&mut **tx).await?))
}

/// Returns the number of messages that the broker takes for unacknowledged.
pub(super) async fn unacknowledged(broker: &Broker) -> u64 {
    let topology = Topology::declared().expect("streams.yaml");
    topology::lag(broker, &topology, CONSUMER).await.expect("the broker answers").unacknowledged
}
