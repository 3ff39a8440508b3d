//! How ticks become rows of history, candles and latest prices.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use events::{Symbol, Timestamp, Venue, tick::TickSource};
use futures::future::BoxFuture;
use market_data::{InstrumentId, MaxAhead, Month, StoredTick, TickFilter, TickRefusal, candles::fold};
use platform::{Broker, Check, DecodeError, Message, ServiceError};
use store::{
    Error, Store, Tx,
    consumer::{
        runner::{ConsumerRun, lead},
        service::{Commit, ConsumerService, Decided, Plan},
    },
    market::{candles, instruments, ticks},
};
use thiserror::Error;
use tracing::{debug, warn};

use crate::{SERVICE, Settings, partitions::Partitions};

/// How often partitions are maintained.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);

/// How far apart the times of one trade may be that a venue's two interfaces report.
const NEARBY_MICROS: u64 = 1_000_000;

type Instruments = HashMap<(Symbol, Venue), InstrumentId>;

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
    max_ahead: MaxAhead,
) -> Result<(), ServiceError> {
    let plan = Plan { maintain_every: Some(MAINTAIN_EVERY), ..Plan::new(SERVICE, &[SERVICE], settings.batch) };
    let work = Box::pin(async {
        let service = HistoryWriter { store: store.clone(), retention_days: settings.retention_days, max_ahead };
        let run = ConsumerRun::open(&service, store, broker, plan).await?;
        check.ready();
        run.run(check).await
    });
    lead(store, broker, SERVICE, check, work).await.map(|never| match never {})
}

struct HistoryWriter {
    store: Store,
    retention_days: u32,
    max_ahead: MaxAhead,
}

struct State {
    partitions: Partitions,
    instruments: Instruments,
    /// Tells which ticks are late. It does not know the ids that are stored: the unique key of the table does.
    filter: TickFilter,
}

/// The reason why a tick is given up.
#[derive(Debug, Error)]
enum GivenUp {
    /// The message cannot be decoded.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// Nobody may use the tick.
    #[error(transparent)]
    Tick(#[from] TickRefusal),
}

impl ConsumerService for HistoryWriter {
    type Event = StoredTick;
    type State = State;
    type Effects = Effects;
    type Saved = Instruments;
    type Reject = GivenUp;

    async fn restore(&self, _positions: &[u64]) -> Result<State, ServiceError> {
        let partitions = Partitions::open(&self.store, self.retention_days).await?;
        let instruments = instruments::list(&self.store).await?;
        Ok(State { partitions, instruments, filter: TickFilter::restore(ticks::newest(&self.store).await?) })
    }

    fn decode(&self, _consumer: usize, message: &Message) -> Result<StoredTick, GivenUp> {
        let tick = message.event()?;
        Ok(StoredTick::accept(tick, message.id(), message.sequence, message.stored_at, self.max_ahead)?)
    }

    fn event_time(&self, stored: &StoredTick) -> Option<Timestamp> {
        Some(stored.tick.at)
    }

    async fn prepare(&self, state: &mut State, ticks: &[&StoredTick]) -> Result<(), ServiceError> {
        let months: BTreeSet<Month> = ticks.iter().map(|stored| Month::of(stored.tick.at)).collect();
        Ok(state.partitions.create_missing(&self.store, months).await?)
    }

    fn decide(
        &self,
        state: &mut State,
        stored: StoredTick,
        _message: &Message,
        decided: &mut Decided<Effects>,
    ) -> Result<(), GivenUp> {
        let effects = &mut decided.effects;
        if state.partitions.is_dropped(Month::of(stored.tick.at)) {
            *effects.dropped.entry(Month::of(stored.tick.at)).or_default() += 1;
            return Ok(());
        }
        let is_in_order = state.filter.admits(&stored.tick, &stored.trade_id);
        let may_differ_in_time = !is_in_order || stored.tick.source == TickSource::Backfill;
        if may_differ_in_time && !stored.has_time_in_id() {
            effects.out_of_order.insert(stored.sequence);
        }
        effects.ticks.push(stored);
        Ok(())
    }

    fn finish(&self, state: &mut State, decided: &mut Decided<Effects>) {
        decided.effects.instruments = state.instruments.clone();
    }

    async fn maintain(&self, state: &mut State) -> Result<(), ServiceError> {
        Ok(state.partitions.maintain(&self.store).await?)
    }

    fn commit(&self, _state: &mut State, commit: Commit<Effects>) -> BoxFuture<'static, Result<Instruments, Error>> {
        let store = self.store.clone();
        Box::pin(async move { commit.in_transaction(&store, |tx, effects| Box::pin(save(tx, effects))).await })
    }

    fn committed(&self, state: &mut State, saved: Instruments) {
        state.instruments = saved;
    }
}

/// The ticks of one batch, and the instruments that are known before it.
#[derive(Default)]
struct Effects {
    ticks: Vec<StoredTick>,
    /// The sequences of the ticks that came late or were backfilled: each may be stored already, under a time that differs a
    /// little.
    out_of_order: HashSet<u64>,
    /// The number of ticks of months that were dropped.
    dropped: BTreeMap<Month, u64>,
    instruments: Instruments,
}

/// Saves the ticks that are not stored yet, with their candles and latest prices, and returns all instruments.
async fn save(tx: &mut Tx, effects: Effects) -> Result<Instruments, Error> {
    let Effects { ticks, out_of_order, dropped, mut instruments } = effects;
    count_dropped(&dropped);
    let read = ticks.len();
    let rows = numbered(tx, ticks, &mut instruments).await?;
    let (late, mut rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|(_, stored)| out_of_order.contains(&stored.sequence));
    let mut added = ticks::add(tx, &rows).await?;
    if !late.is_empty() {
        let nearby = ticks::stored_nearby(tx, &late).await?;
        let late = without_repeats_nearby(late.into_iter().filter(|(_, stored)| !nearby.contains(&stored.sequence)));
        added.extend(ticks::add(tx, &late).await?);
        rows.extend(late);
    }
    let repeated = read - added.len();
    if repeated > 0 {
        debug!(repeated, "skipped ticks that are stored already");
    }
    metrics::counter!("tickbell_ticks_repeated_total").increment(repeated as u64);
    metrics::counter!("tickbell_ticks_kept_total").increment(added.len() as u64);
    // A repeated tick is in the candles already: folding it again would count it twice.
    rows.retain(|(_, stored)| added.contains(&stored.sequence));
    candles::merge(tx, &fold(&rows)).await?;
    ticks::merge_latest(tx, &newest_per_instrument(rows)).await?;
    Ok(instruments)
}

/// Adds the number of its instrument to each tick. An instrument that is quoted for the first time gets one.
async fn numbered(
    tx: &mut Tx,
    ticks: Vec<StoredTick>,
    instruments: &mut Instruments,
) -> Result<Vec<(InstrumentId, StoredTick)>, Error> {
    let mut rows = Vec::with_capacity(ticks.len());
    for stored in ticks {
        let key = (stored.tick.symbol.clone(), stored.tick.venue.clone());
        let instrument = match instruments.get(&key) {
            Some(instrument) => *instrument,
            None => {
                let instrument = instruments::add(tx, &key.0, &key.1).await?;
                *instruments.entry(key).or_insert(instrument)
            }
        };
        rows.push((instrument, stored));
    }
    Ok(rows)
}

/// Drops each tick whose id a tick before it has, at a time within a second around.
fn without_repeats_nearby(rows: impl Iterator<Item = (InstrumentId, StoredTick)>) -> Vec<(InstrumentId, StoredTick)> {
    let mut times: HashMap<(InstrumentId, String), Vec<Timestamp>> = HashMap::new();
    let is_new = |(instrument, stored): &(InstrumentId, StoredTick)| {
        let at = stored.tick.at;
        let times = times.entry((*instrument, stored.trade_id.clone())).or_default();
        let is_new = times.iter().all(|time| time.micros().abs_diff(at.micros()) > NEARBY_MICROS);
        times.push(at);
        is_new
    };
    rows.filter(is_new).collect()
}

fn count_dropped(dropped: &BTreeMap<Month, u64>) {
    for (month, ticks) in dropped {
        count_skipped("dropped", *ticks);
        warn!(%month, ticks, "skipped ticks of a month that was dropped by history.retention_days: they may be in the candles");
    }
}

/// Registers the counters at zero, so that their first count is a step.
pub(crate) fn register_metrics() {
    count_skipped("dropped", 0);
}

fn count_skipped(reason: &'static str, ticks: u64) {
    metrics::counter!("tickbell_ticks_skipped_total", "service" => SERVICE, "reason" => reason).increment(ticks);
}

fn newest_per_instrument(rows: Vec<(InstrumentId, StoredTick)>) -> Vec<(InstrumentId, StoredTick)> {
    let mut newest: HashMap<InstrumentId, StoredTick> = HashMap::new();
    for (instrument, stored) in rows {
        if newest.get(&instrument).is_none_or(|other| other.order_key() < stored.order_key()) {
            newest.insert(instrument, stored);
        }
    }
    newest.into_iter().collect()
}
