//! Tests of the consumer runner on a real broker and a real PostgreSQL: nothing is lost and nothing is applied twice,
//! wherever a run ends.

mod counter;
mod dead_connections;
mod streams;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use events::{OutboundMessage, envelope::NATS_MSG_ID, streams::Topology};
use futures::TryStreamExt;
use platform::{
    Broker, Check, Health, ServiceError, Shutdown,
    broker::{Settings, stream_scan, topology},
};
use store::{
    Error,
    consumer::{
        position,
        runner::{self, ConsumerRun},
        service::{BrokenConstraint, Plan, Publish},
    },
    outbox,
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use self::counter::{CONSUMER, Counter, SERVICE, Until, counted, unacknowledged};
use crate::{
    database::{DEADLINE, Database},
    nats::NatsServer,
};

/// The number of messages that a test publishes, which are two batches.
const MESSAGES: u64 = 40;
const BATCH: usize = 20;

/// A broker with the declared streams, and a database.
struct Servers {
    database: Database,
    broker: Broker,
    nats: NatsServer,
}

impl Servers {
    async fn start() -> Self {
        let nats = tokio::task::block_in_place(NatsServer::start);
        let settings = Settings { url: nats.url.clone(), ..Settings::default() };
        let check = Health::default().check("broker");
        let broker = Broker::connect(&settings, SERVICE, check, Shutdown::new()).await.expect("the broker answers");
        topology::apply(&broker, &Topology::declared().expect("streams.yaml")).await.expect("the streams are created");
        let database = Database::new().await;
        database.run(counter::TABLE).await;
        Self { database, broker, nats }
    }

    /// Starts both and publishes the messages 1 to [`MESSAGES`].
    async fn with_messages() -> Self {
        let servers = Self::start().await;
        servers.publish((1..=MESSAGES).map(|number| number.to_string())).await;
        servers
    }

    async fn publish(&self, names: impl Iterator<Item = String>) {
        let message = |name: String| {
            let headers = vec![(NATS_MSG_ID.to_owned(), name.clone())];
            OutboundMessage { subject: format!("alerts.{name}"), id: name, headers, body: b"{}".to_vec() }
        };
        self.broker.publish(&names.map(message).collect::<Vec<_>>()).await.expect("the broker stores them");
    }

    /// Runs a counter as the leader, and returns the error that ends the run.
    async fn run(&self, counter: &Counter) -> ServiceError {
        self.run_plan(counter, plan()).await
    }

    async fn run_plan(&self, counter: &Counter, plan: Plan) -> ServiceError {
        self.lead(async {
            ConsumerRun::open(counter, &self.database.store, &self.broker, plan).await?.run(&check()).await
        })
        .await
    }

    /// Does some work as the leader, and returns the error that ends it.
    async fn lead(&self, work: impl Future<Output = Result<Infallible, ServiceError>>) -> ServiceError {
        let check = check();
        let ended = timeout(DEADLINE, runner::lead(&self.database.store, &self.broker, SERVICE, &check, work)).await;
        let Err(error) = ended.expect("in time");
        error
    }

    /// Runs a counter until everything up to a sequence is published, and returns the sequences that it has decided.
    async fn run_until(&self, sequence: u64) -> Vec<u64> {
        let counter = Counter::new(&self.database.store, sequence);
        let error = self.run(&counter).await;
        assert!(matches!(error, ServiceError::Permanent(..)), "{error:?}");
        counter.decided()
    }

    /// Runs a counter until it has committed a batch, and drops the run before it publishes.
    async fn run_to_the_first_commit(&self) {
        let committed = Arc::new(Notify::new());
        let mut counter = Counter::new(&self.database.store, u64::MAX);
        let done = committed.clone();
        counter.around_commit = Box::new(move |saving, _| {
            let done = done.clone();
            Box::pin(async move {
                saving.await?;
                done.notify_one();
                std::future::pending().await
            })
        });
        tokio::select! {
            error = self.run(&counter) => panic!("{error:?}"),
            () = committed.notified() => {}
        }
    }

    async fn position(&self) -> u64 {
        position::progress(&self.database.store, CONSUMER).await.expect("an answer").position
    }

    /// Checks that the messages 1 to `last` are counted once each and in order, and their events published likewise.
    async fn assert_counted_once(&self, last: u64) {
        let query = "SELECT number, count FROM counted ORDER BY count, number";
        let rows: Vec<(i64, i64)> = sqlx::query_as(query).fetch_all(&self.database.pool).await.expect("rows");
        assert_eq!(rows, (1..=last as i64).map(|number| (number, number)).collect::<Vec<_>>());
        let expected: Vec<String> = (1..=last).map(|number| counted(number, number as i64).subject).collect();
        assert_eq!(self.subjects("TRADES").await, expected);
        assert_eq!(outbox::len(&self.database.store, SERVICE).await.expect("a number"), 0);
    }

    /// Returns the subjects of a stream's messages, oldest first.
    async fn subjects(&self, stream: &str) -> Vec<String> {
        let messages = stream_scan::messages(&self.broker, stream, ..).await.expect("the stream exists");
        messages.map_ok(|message| message.subject).try_collect().await.expect("the stream can be read")
    }
}

fn plan() -> Plan {
    Plan { maintain_every: Some(Duration::from_millis(5)), ..Plan::new(SERVICE, &[CONSUMER], BATCH) }
}

/// Returns a check that nobody looks at.
fn check() -> Check {
    Health::default().check("test")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_committed_and_did_not_publish_the_next_run_publishes_first() {
    let servers = Servers::with_messages().await;
    servers.run_to_the_first_commit().await;
    let position = servers.position().await;
    let waiting = outbox::len(&servers.database.store, SERVICE).await.expect("a number") as u64;
    assert!(position > 0 && waiting == position, "{waiting} events for {position} messages");
    assert!(servers.subjects("TRADES").await.is_empty());
    servers.lead(async { Err(ServiceError::transient("open the consumers", "the broker is away")) }).await;
    assert_eq!(servers.subjects("TRADES").await.len() as u64, waiting, "they are published before anything is decided");
    servers.run_until(MESSAGES).await;
    servers.assert_counted_once(MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_row_outlives_its_publication_is_published_once() {
    let servers = Servers::with_messages().await;
    servers.run_to_the_first_commit().await;
    // A process that dies between the broker's acknowledgement and the delete of the rows leaves this behind.
    servers.broker.publish(&[counted(1, 1), counted(2, 2)]).await.expect("the broker stores them");
    servers.run_until(MESSAGES).await;
    servers.assert_counted_once(MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_repeated() {
    let servers = Servers::with_messages().await;
    let mut counter = Counter::new(&servers.database.store, MESSAGES);
    counter.around_commit = Box::new(|saving, _| {
        Box::pin(async move {
            saving.await?;
            Err(Error::Database(sqlx::Error::WorkerCrashed))
        })
    });
    let error = servers.run(&counter).await;
    assert!(matches!(error, ServiceError::Transient(..)), "the supervisor begins a new run: {error:?}");
    servers.run_until(MESSAGES).await;
    servers.assert_counted_once(MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_run_is_fenced_and_changes_nothing() {
    let servers = Servers::with_messages().await;
    let stale = Counter::new(&servers.database.store, u64::MAX);
    // Without leadership, as when its lock was lost and it has not noticed.
    let run = ConsumerRun::open(&stale, &servers.database.store, &servers.broker, plan()).await.expect("it opens");
    // While it is paused, another instance applies everything. The next message shows the stale one that it missed some,
    // and it reads again from its own position.
    servers.run_until(MESSAGES).await;
    servers.publish(std::iter::once((MESSAGES + 1).to_string())).await;
    let error = timeout(DEADLINE, run.run(&check())).await.expect("in time").expect_err("it is stale");
    assert_eq!(stale.decided().first(), Some(&1), "it decided what the other instance had applied");
    let ServiceError::Transient(_, cause) = error else { panic!("{error:?}") };
    assert!(matches!(cause.downcast_ref(), Some(Error::Fenced(consumer)) if consumer == CONSUMER), "{cause:?}");
    servers.assert_counted_once(MESSAGES).await;
    assert_eq!(servers.run_until(MESSAGES + 1).await, [MESSAGES + 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_applied_becomes_one_dead_letter_and_the_rest_goes_on() {
    let servers = Servers::start().await;
    servers.publish(["1", "two", "0", "2"].map(str::to_owned).into_iter()).await;
    servers.run_to_the_first_commit().await;
    servers.run_until(4).await;
    servers.run_until(4).await;
    servers.assert_counted_once(2).await;
    let query = "SELECT stream, sequence, service, reason FROM dead_letters ORDER BY sequence";
    let found: Vec<(String, i64, String, String)> =
        sqlx::query_as(query).fetch_all(&servers.database.pool).await.expect("rows");
    let expected = [(2, "two is not a number"), (3, "0 is not counted")];
    let expected = expected.map(|(sequence, reason)| ("ALERTS".into(), sequence, SERVICE.into(), reason.into()));
    assert_eq!(found, expected);
    assert_eq!(servers.subjects("DLQ").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_committed_and_not_acknowledged_is_not_decided_again() {
    let servers = Servers::with_messages().await;
    servers.run_to_the_first_commit().await;
    let position = servers.position().await;
    assert_eq!(unacknowledged(&servers.broker).await, MESSAGES, "the broker would deliver all of them again");
    assert_eq!(servers.run_until(MESSAGES).await, (position + 1..=MESSAGES).collect::<Vec<_>>());
    servers.assert_counted_once(MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_acknowledged_and_not_committed_is_decided_again() {
    let servers = Servers::with_messages().await;
    let mut counter = Counter::new(&servers.database.store, 0);
    counter.until = Until::Acknowledged(Box::new(servers.broker.clone()));
    servers.run(&counter).await;
    assert_eq!(counter.decided(), (1..=MESSAGES).collect::<Vec<_>>());
    // The database is restored from a backup that is older than the acknowledgements.
    servers
        .database
        .run(
            "DELETE FROM counted WHERE number > 5; UPDATE consumer_positions SET stream_position = 5, stored_at = NULL",
        )
        .await;
    assert_eq!(servers.run_until(MESSAGES).await, (6..=MESSAGES).collect::<Vec<_>>());
    servers.assert_counted_once(MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_decided_while_another_is_committed_follows_it_in_order() {
    let servers = Servers::with_messages().await;
    let (committed, mut commits) = watch::channel(Vec::new());
    let late = Arc::new(AtomicUsize::new(0));
    let mut counter = Counter::new(&servers.database.store, MESSAGES);
    let (decided, begun_late) = (counter.decided.subscribe(), Arc::clone(&late));
    // A commit waits until a message behind its batch is decided: without deciding ahead it would wait for ever.
    counter.around_commit = Box::new(move |saving, last| {
        let (mut decided, committed, begun_late) = (decided.clone(), committed.clone(), Arc::clone(&begun_late));
        Box::pin(async move {
            begun_late.fetch_add(usize::from(decided.borrow().last() != Some(&last)), Ordering::Relaxed);
            let is_ahead = |decided: &Vec<u64>| last == MESSAGES || decided.last() > Some(&last);
            decided.wait_for(is_ahead).await.expect("the counter lives");
            let saved = saving.await?;
            committed.send_modify(|commits: &mut Vec<u64>| commits.push(last));
            Ok(saved)
        })
    });
    let plan = Plan { decide_ahead_from: Some(1), batch: 5, ..plan() };
    let run = ConsumerRun::open(&counter, &servers.database.store, &servers.broker, plan).await.expect("it opens");
    let everything = commits.wait_for(|commits| commits.last() == Some(&MESSAGES));
    let check = check();
    tokio::select! {
        ended = run.run(&check) => panic!("{ended:?}"),
        commits = timeout(DEADLINE, everything) => {
            let commits = commits.expect("each commit was overtaken by decisions").expect("the counter lives").clone();
            assert!(commits.len() > 1 && commits.is_sorted(), "{commits:?}");
        }
    }
    assert_eq!(late.load(Ordering::Relaxed), 0, "a commit began after a message behind it was decided");
    assert_eq!(counter.decided(), (1..=MESSAGES).collect::<Vec<_>>());
    servers.run_until(MESSAGES).await;
    servers.assert_counted_once(MESSAGES).await;
}

/// Lets the database refuse the numbers 7, 8 and 31.
const PICKY: &str = "ALTER TABLE counted ADD CONSTRAINT picky CHECK (number NOT IN (7, 8, 31))";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_database_refuses_becomes_a_dead_letter_and_the_rest_goes_on() {
    let servers = Servers::with_messages().await;
    servers.database.run(PICKY).await;
    let mut counter = Counter::new(&servers.database.store, MESSAGES);
    counter.panics = true;
    let error = servers.run(&counter).await;
    assert!(matches!(error, ServiceError::Permanent(..)), "the run goes on to the end of the test: {error:?}");
    let query = "SELECT number, count FROM counted ORDER BY count";
    let rows: Vec<(i64, i64)> = sqlx::query_as(query).fetch_all(&servers.database.pool).await.expect("rows");
    let good = (1..=MESSAGES as i64).filter(|number| ![7, 8, 13, 31].contains(number));
    assert_eq!(rows, good.zip(1..).collect::<Vec<_>>(), "each is counted once, and the state was restored each time");
    let query = "SELECT sequence, reason FROM dead_letters ORDER BY sequence";
    let found: Vec<(i64, String)> = sqlx::query_as(query).fetch_all(&servers.database.pool).await.expect("rows");
    assert_eq!(found.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [7, 8, 13, 31]);
    for (sequence, reason) in &found {
        let expected = if *sequence == 13 { "13 brings bad luck" } else { "violates check constraint \"picky\"" };
        assert!(reason.contains(expected), "{reason}");
    }
    assert_eq!(servers.subjects("DLQ").await.len(), 4);
    assert_eq!(servers.subjects("TRADES").await.len() as u64, MESSAGES - 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_constraint_of_the_ledger_is_tried_once_more_and_then_ends_the_run() {
    let servers = Servers::with_messages().await;
    servers.database.run(PICKY).await;
    let counter = Counter::new(&servers.database.store, MESSAGES);
    let plan = Plan { on_broken_constraint: BrokenConstraint::Stop, ..plan() };
    let (store, broker) = (&servers.database.store, &servers.broker);
    let error =
        servers.lead(async { ConsumerRun::open(&counter, store, broker, plan).await?.run(&check()).await }).await;
    assert!(matches!(error, ServiceError::Permanent(..)) && Error::is_broken_constraint(&error), "{error:?}");
    // Once more in each run that ends for another reason, like an answer that comes too late.
    let decided = counter.decided().iter().filter(|sequence| **sequence == 7).count();
    assert!(decided >= 2, "it is decided {decided} times");
    assert_eq!(servers.database.count("SELECT count(*) FROM dead_letters").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_published_while_the_next_batch_is_decided_are_published_before_it_is_acknowledged() {
    let servers = Servers::with_messages().await;
    servers.run_to_the_first_commit().await;
    let mut counter = Counter::new(&servers.database.store, 0);
    counter.until = Until::Acknowledged(Box::new(servers.broker.clone()));
    let error = servers.run_plan(&counter, Plan { publish: Publish::WhileDeciding, ..plan() }).await;
    assert!(matches!(error, ServiceError::Permanent(..)), "{error:?}");
    servers.assert_counted_once(MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_published_from_memory_once_while_others_add_to_the_outbox() {
    let servers = Servers::with_messages().await;
    let mut sent = servers.nats.subscribe("trades.>");
    let mut counter = Counter::new(&servers.database.store, 0);
    counter.until = Until::Acknowledged(Box::new(servers.broker.clone()));
    counter.knows_rows = true;
    let plan = Plan { publish: Publish::WhileDeciding, batch: 1, ..plan() };
    let error = servers.run_plan(&counter, plan).await;
    assert!(matches!(error, ServiceError::Permanent(..)), "{error:?}");
    servers.assert_counted_once(MESSAGES).await;
    // The stream recognises what is published twice, and a subscription does not.
    let expected: Vec<String> = (1..=MESSAGES).map(|number| counted(number, number as i64).subject).collect();
    assert_eq!(sent.subjects(), expected);
}
