//! How ticks become rows of history, candles and latest prices.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use events::{
    Event, Interval, Symbol, TickPage, Timestamp, Venue,
    tick::{TickSource, page_of_one},
};
use futures::future::BoxFuture;
use market_data::{InstrumentId, MaxAhead, Month, StoredPage, StoredTick, TickFilter, candles::fold};
use platform::{Broker, Check, DecodeError, Message, ServiceError};
use store::{
    Error, Store, Tx,
    consumer::{
        runner::{ConsumerRun, lead},
        service::{Commit, ConsumerService, Decided, Plan},
    },
    market::{
        candles, instruments,
        ticks::{self, NumberedTick},
    },
};
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
    instruments: Arc<Instruments>,
    /// Tells which ticks are late. It does not know the ids that were stored before the run: the unique key of the table does.
    filter: TickFilter,
    /// The newest time of each market that was stored before the run.
    stored_until: HashMap<(Symbol, Venue), Timestamp>,
}

/// What is known of a tick before it is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// It is newer than all that was stored before the run, and has not come in it.
    New,
    /// It may be stored already.
    Unknown,
    /// It came late or was backfilled: it may be stored already, under a time that differs a little.
    OutOfOrder,
}

impl ConsumerService for HistoryWriter {
    type Event = StoredPage;
    type State = State;
    type Effects = Effects;
    type Saved = Instruments;
    type Reject = DecodeError;

    async fn restore(&self, _positions: &[u64]) -> Result<State, ServiceError> {
        let partitions = Partitions::open(&self.store, self.retention_days).await?;
        let instruments = Arc::new(instruments::list(&self.store).await?);
        let newest = ticks::newest(&self.store).await?;
        let stored_until =
            newest.iter().map(|market| ((market.symbol.clone(), market.venue.clone()), market.at)).collect();
        Ok(State { partitions, instruments, filter: TickFilter::restore(newest), stored_until })
    }

    fn decode(&self, _consumer: usize, message: &Message) -> Result<StoredPage, DecodeError> {
        let (sequence, stored_at) = (message.sequence, message.stored_at);
        message.read(TickPage::TYPE, |body| StoredPage::read(body, sequence, stored_at, self.max_ahead))
    }

    fn items(&self, page: &StoredPage) -> usize {
        page.len()
    }

    fn keep(&self, page: &mut StoredPage, items: &Range<usize>) {
        page.keep(items);
    }

    fn item(&self, message: &Message, item: usize) -> Option<Vec<u8>> {
        page_of_one(message.body(), item)
    }

    fn event_time(&self, page: &StoredPage) -> Option<Timestamp> {
        page.last_at()
    }

    async fn prepare(&self, state: &mut State, pages: &[&StoredPage]) -> Result<(), ServiceError> {
        let months: BTreeSet<Month> = pages.iter().flat_map(|page| months(page)).collect();
        Ok(state.partitions.create_missing(&self.store, months).await?)
    }

    fn decide(
        &self,
        state: &mut State,
        mut page: StoredPage,
        _message: &Message,
        decided: &mut Decided<Effects>,
    ) -> Result<(), DecodeError> {
        let effects = &mut decided.effects;
        // Nobody may use these. This service gives them up, the others skip them.
        let refused = page.refused().iter().map(|refused| (refused.index.into(), refused.refusal.to_string()));
        decided.rejected_items.extend(refused);
        if months(&page).any(|month| state.partitions.is_dropped(month)) {
            page.retain(|tick| {
                let month = Month::of(tick.at);
                let is_dropped = state.partitions.is_dropped(month);
                *effects.dropped.entry(month).or_default() += u64::from(is_dropped);
                !is_dropped
            });
        }
        let market = (page.head().symbol.clone(), page.head().venue.clone());
        let stored_until = state.stored_until.get(&market).copied();
        let is_backfilled = page.head().source == TickSource::Backfill;
        let arrival = |tick: StoredTick<'_>| {
            let is_in_order = state.filter.admits(&tick);
            if (!is_in_order || is_backfilled) && !tick.has_time_in_id() {
                Arrival::OutOfOrder
            } else if is_in_order && stored_until.is_none_or(|until| tick.at > until) {
                Arrival::New
            } else {
                Arrival::Unknown
            }
        };
        let arrivals = page.ticks().map(arrival).collect();
        effects.pages.push((page, arrivals));
        Ok(())
    }

    fn finish(&self, state: &mut State, decided: &mut Decided<Effects>) {
        decided.effects.instruments = Arc::clone(&state.instruments);
    }

    async fn maintain(&self, state: &mut State) -> Result<(), ServiceError> {
        Ok(state.partitions.maintain(&self.store).await?)
    }

    fn commit(&self, _state: &mut State, commit: Commit<Effects>) -> BoxFuture<'static, Result<Instruments, Error>> {
        let store = self.store.clone();
        Box::pin(async move { commit.in_transaction(&store, |tx, effects| Box::pin(save(tx, effects))).await })
    }

    fn committed(&self, state: &mut State, saved: Instruments) {
        if !saved.is_empty() {
            Arc::make_mut(&mut state.instruments).extend(saved);
        }
    }
}

/// The ticks of one batch, and the instruments that are known before it.
#[derive(Default)]
struct Effects {
    /// The pages, with what is known of each of their ticks.
    pages: Vec<(StoredPage, Vec<Arrival>)>,
    /// The number of ticks of months that were dropped.
    dropped: BTreeMap<Month, u64>,
    instruments: Arc<Instruments>,
}

/// The rows of a batch.
#[derive(Default)]
struct Rows<'page> {
    new: Vec<NumberedTick<'page>>,
    unknown: Vec<NumberedTick<'page>>,
    out_of_order: Vec<NumberedTick<'page>>,
}

/// Saves the ticks that are not stored yet, with their candles and latest prices, and returns the instruments that are new.
async fn save(tx: &mut Tx, effects: Effects) -> Result<Instruments, Error> {
    let Effects { pages, dropped, instruments } = effects;
    count_dropped(&dropped);
    let mut added_instruments = Instruments::new();
    let Rows { new, unknown, out_of_order } = numbered(tx, &pages, &instruments, &mut added_instruments).await?;
    let read = new.len() + unknown.len() + out_of_order.len();
    let mut rows = new;
    if !rows.is_empty() {
        ticks::append(tx, &rows).await?;
    }
    // A repeated tick is in the candles already: folding it again would count it twice.
    if !unknown.is_empty() {
        let added = ticks::add(tx, &unknown).await?;
        rows.extend(unknown.into_iter().filter(|(_, tick)| added.contains(&tick.position)));
    }
    if !out_of_order.is_empty() {
        let nearby = ticks::stored_nearby(tx, &out_of_order).await?;
        let elsewhere = out_of_order.into_iter().filter(|(_, tick)| !nearby.contains(&tick.position));
        let elsewhere = without_repeats_nearby(elsewhere);
        let added = ticks::add(tx, &elsewhere).await?;
        rows.extend(elsewhere.into_iter().filter(|(_, tick)| added.contains(&tick.position)));
    }
    let repeated = read - rows.len();
    if repeated > 0 {
        debug!(repeated, "skipped ticks that are stored already");
    }
    metrics::counter!("tickbell_ticks_repeated_total").increment(repeated as u64);
    metrics::counter!("tickbell_ticks_kept_total").increment(rows.len() as u64);
    candles::merge(tx, &fold(rows.iter().copied())).await?;
    ticks::merge_latest(tx, &newest_per_instrument(&rows)).await?;
    Ok(added_instruments)
}

/// Adds the number of its instrument to each tick. An instrument that is quoted for the first time gets one, and is added to
/// `added`.
async fn numbered<'page>(
    tx: &mut Tx,
    pages: &'page [(StoredPage, Vec<Arrival>)],
    known: &Instruments,
    added: &mut Instruments,
) -> Result<Rows<'page>, Error> {
    let mut rows = Rows::default();
    for (page, arrivals) in pages.iter().filter(|(_, arrivals)| !arrivals.is_empty()) {
        let key = (page.head().symbol.clone(), page.head().venue.clone());
        let instrument = match known.get(&key).or_else(|| added.get(&key)) {
            Some(instrument) => *instrument,
            None => {
                let instrument = instruments::add(tx, &key.0, &key.1).await?;
                *added.entry(key).or_insert(instrument)
            }
        };
        for (tick, arrival) in page.ticks().zip(arrivals) {
            let rows = match arrival {
                Arrival::New => &mut rows.new,
                Arrival::Unknown => &mut rows.unknown,
                Arrival::OutOfOrder => &mut rows.out_of_order,
            };
            rows.push((instrument, tick));
        }
    }
    Ok(rows)
}

/// Drops each tick whose id a tick before it has, at a time within a second around.
fn without_repeats_nearby<'page>(rows: impl Iterator<Item = NumberedTick<'page>>) -> Vec<NumberedTick<'page>> {
    let mut times: HashMap<(InstrumentId, &str), Vec<Timestamp>> = HashMap::new();
    let is_new = |(instrument, tick): &NumberedTick<'page>| {
        let at = tick.at;
        let times = times.entry((*instrument, tick.id)).or_default();
        let is_new = times.iter().all(|time| time.micros().abs_diff(at.micros()) > NEARBY_MICROS);
        times.push(at);
        is_new
    };
    rows.filter(is_new).collect()
}

/// Returns the months that a page has ticks of, some of them again and again.
fn months(page: &StoredPage) -> impl Iterator<Item = Month> {
    let mut before: Option<i64> = None;
    page.ticks().filter_map(move |tick| {
        let day = tick.at.floor(Interval::Day).micros();
        (before.replace(day) != Some(day)).then(|| Month::of(tick.at))
    })
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

fn newest_per_instrument<'page>(rows: &[NumberedTick<'page>]) -> Vec<NumberedTick<'page>> {
    let mut newest: HashMap<InstrumentId, NumberedTick<'page>> = HashMap::new();
    for row in rows {
        let newest = newest.entry(row.0).or_insert(*row);
        if newest.1.order_key() < row.1.order_key() {
            *newest = *row;
        }
    }
    newest.into_values().collect()
}
