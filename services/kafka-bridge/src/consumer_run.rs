//! How the messages of one stream become records, and a batch of them a transaction.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use events::{Event, Symbol, TickPage, Timestamp, Venue};
use futures::future::BoxFuture;
use market_data::{Admission, MaxAhead, NewestTicks, StoredPage};
use platform::{Broker, Check, Message, ServiceError, StreamPosition, broker::stream_position};
use store::{
    Error, Store,
    consumer::{
        dead_letters, lease,
        runner::ConsumerRun,
        service::{Commit, ConsumerService, Decided, Plan},
    },
    outbox::relay,
};
use tokio::time::interval;

use crate::{
    Mirrored, Record, SERVICE, Settings, Source, TickShape, event_record,
    kafka::{self, MirrorProducer, blocking, lifecycle},
    tick_records,
};

/// How often the transactions are looked at, and the age of the position.
const MAINTAIN_EVERY: Duration = Duration::from_secs(30);
/// The number of waiting messages from which the next transaction is prepared while one is committed.
const DECIDE_AHEAD_FROM: u64 = 1;

/// The systems and the settings that all streams have in common.
#[derive(Clone)]
pub(crate) struct Systems {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) max_ahead: MaxAhead,
}

/// Waits for the lease of a stream, and mirrors it from its position on until something fails.
pub(crate) async fn run(systems: &Systems, mirrored: &'static Mirrored, check: &Check) -> Result<(), ServiceError> {
    let work = async {
        relay::publish_pending(&systems.store, SERVICE, &systems.broker).await?;
        mirror(systems, mirrored, check).await
    };
    lease::lead(&systems.store, &systems.broker, mirrored.consumer, check, Box::pin(work)).await
}

async fn mirror(systems: &Systems, mirrored: &'static Mirrored, check: &Check) -> Result<(), ServiceError> {
    let Systems { broker, store, settings, .. } = systems;
    let stream_created = stream_position::bounds(broker, mirrored.stream).await?.created;
    let opened = {
        let settings = settings.clone();
        blocking(move || lifecycle::open(&settings, mirrored, stream_created)).await?
    };
    let producer = Producer(Arc::new(Mutex::new(opened)));
    let bridge = Bridge { producer: producer.clone(), systems: systems.clone(), mirrored };
    let plan = Plan {
        decide_ahead_from: Some(DECIDE_AHEAD_FROM),
        ..Plan::new(SERVICE, &[mirrored.consumer], settings.transaction_records)
    };
    let run = ConsumerRun::open(&bridge, store, broker, plan).await?;
    check.ready();
    tokio::select! {
        ended = Box::pin(run.run(check)) => ended.map(|never| match never {}),
        error = maintain(&producer) => Err(error),
    }
}

/// Maintains the producer until that fails.
async fn maintain(producer: &Producer) -> ServiceError {
    let mut ticks = interval(MAINTAIN_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let producer = producer.clone();
        if let Err(error) = blocking(move || lifecycle::maintain(&mut producer.lock())).await {
            return error.into();
        }
    }
}

/// The producer, which one transaction at a time uses.
#[derive(Clone)]
struct Producer(Arc<Mutex<MirrorProducer>>);

impl Producer {
    fn lock(&self) -> MutexGuard<'_, MirrorProducer> {
        // A panic leaves a transaction that the next run aborts, and a position that is the committed one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mirrors one stream.
struct Bridge {
    producer: Producer,
    systems: Systems,
    mirrored: &'static Mirrored,
}

/// A message that is mirrored: a page whose ticks are records of their own, or one that is a record itself.
enum Decoded {
    Page(StoredPage),
    Whole,
}

/// The newest ticks of each market in this run, by which repeats are found.
#[derive(Default)]
struct State {
    newest: HashMap<(Symbol, Venue), NewestTicks>,
    stream_created: Option<Timestamp>,
}

impl ConsumerService for Bridge {
    type Event = Decoded;
    type State = State;
    type Effects = Vec<Record>;
    type Saved = ();
    type Reject = String;

    async fn read_position(&self, _store: &Store, _consumer: &str) -> Result<Option<StreamPosition>, ServiceError> {
        let producer = self.producer.clone();
        Ok(blocking(move || Ok(producer.lock().position())).await?)
    }

    async fn begin(
        &self,
        _store: &Store,
        _consumer: &str,
        _was: Option<StreamPosition>,
        position: StreamPosition,
    ) -> Result<(), ServiceError> {
        let producer = self.producer.clone();
        Ok(blocking(move || producer.lock().write(&[], position)).await?)
    }

    async fn restore(&self, _positions: &[u64]) -> Result<State, ServiceError> {
        let producer = self.producer.clone();
        let position = blocking(move || Ok(producer.lock().position())).await?;
        Ok(State { stream_created: position.map(|position| position.stream_created), ..State::default() })
    }

    fn decode(&self, _consumer: usize, message: &Message) -> Result<Decoded, String> {
        if self.mirrored.stream != "TICKS" || self.systems.settings.ticks == TickShape::Page {
            return Ok(Decoded::Whole);
        }
        let (sequence, stored_at) = (message.sequence, message.stored_at);
        let page =
            message.read(TickPage::TYPE, |body| StoredPage::read(body, sequence, stored_at, self.systems.max_ahead));
        page.map(Decoded::Page).map_err(|error| error.to_string())
    }

    fn items(&self, event: &Decoded) -> usize {
        match event {
            Decoded::Page(page) => page.len(),
            Decoded::Whole => 1,
        }
    }

    fn keep(&self, event: &mut Decoded, items: &Range<usize>) {
        if let Decoded::Page(page) = event {
            page.keep(items);
        }
    }

    fn event_time(&self, event: &Decoded) -> Option<Timestamp> {
        match event {
            Decoded::Page(page) => page.last_at(),
            Decoded::Whole => None,
        }
    }

    fn decide(
        &self,
        state: &mut State,
        event: Decoded,
        message: &Message,
        decided: &mut Decided<Vec<Record>>,
    ) -> Result<(), String> {
        let stream_created = state.stream_created.unwrap_or(Timestamp::EPOCH);
        let source = Source::new(message, self.mirrored.stream, stream_created, self.systems.max_ahead);
        match event {
            Decoded::Whole => decided.effects.push(event_record(&source)?),
            Decoded::Page(page) => {
                let key = (page.head().symbol.clone(), page.head().venue.clone());
                let mut newest = state.newest.remove(&key);
                let records = tick_records(&source, &page, |tick| match &mut newest {
                    Some(newest) => newest.admit(tick.at, tick.id) != Admission::Repeat,
                    None => {
                        newest = Some(NewestTicks::new(tick.at, tick.id));
                        true
                    }
                });
                state.newest.extend(newest.map(|newest| (key, newest)));
                decided.effects.extend(records);
            }
        }
        Ok(())
    }

    fn commit(&self, _state: &mut State, commit: Commit<Vec<Record>>) -> BoxFuture<'static, Result<(), Error>> {
        let Systems { store, settings, .. } = self.systems.clone();
        let producer = self.producer.clone();
        Box::pin(async move {
            let Commit { service, advances, effects, dead_letters, .. } = commit;
            // Before the position moves: a crash in between records them again, which changes nothing.
            if !dead_letters.is_empty() {
                let add = store.transaction(move |tx| {
                    Box::pin(async move { dead_letters::add(tx, service, &dead_letters).await })
                });
                add.await?;
            }
            let Some(position) = advances.last().map(|advance| advance.to) else { return Ok(()) };
            let written = blocking(move || producer.lock().write(&effects, position)).await;
            let explained = match written {
                // The topics were as declared when the service began. Where somebody has changed one since, that is the reason.
                Err(error) if error.is_record_refused() => kafka::prepare_topics(&settings).await.and(Err(error)),
                written => written,
            };
            explained.map_err(|error| Error::Elsewhere(error.into()))
        })
    }
}
