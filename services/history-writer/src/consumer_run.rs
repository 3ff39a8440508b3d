//! How ticks become rows of history, candles and latest prices, and candles that have closed become events.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use events::{
    CandleClosed, Event, Interval, Symbol, TickPage, Timestamp, Venue,
    tick::{TickSource, page_of_one},
};
use futures::future::BoxFuture;
use market_data::{
    InstrumentId, MaxAhead, Month, StoredPage, StoredTick, TickFilter, TickPosition,
    candles::{self as fold, LateTick, PartialCandle},
};
use platform::{Broker, Check, DecodeError, Message, ServiceError};
use store::{
    Error, Store, Tx,
    consumer::{
        runner::{ConsumerRun, lead},
        service::{Commit, ConsumerService, Decided, Plan},
    },
    market::{
        candles::{self, CandleKey},
        instruments,
        ticks::{self, NumberedTick},
    },
    outbox,
};
use tracing::{debug, warn};

use crate::{SERVICE, Settings, partitions::Partitions};

/// How often partitions are maintained.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);

/// The time for which ticks are gathered before they are stored together: a batch costs as much as its markets have candles. A
/// tick that comes alone is stored at once.
const GATHER: Duration = Duration::from_millis(100);

/// The least number of ticks that are appended by COPY.
const MIN_COPIED: usize = 50;

/// How far apart the times of one trade may be that a venue's two interfaces report.
const NEARBY_MICROS: u64 = 1_000_000;

type Instruments = HashMap<(Symbol, Venue), InstrumentId>;

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    (settings, archive): (&Settings, &str),
    max_ahead: MaxAhead,
) -> Result<(), ServiceError> {
    let plan =
        Plan { gather: GATHER, maintain_every: Some(MAINTAIN_EVERY), ..Plan::new(SERVICE, &[SERVICE], settings.batch) };
    let work = Box::pin(async {
        let (settings, archive) = (settings.clone(), archive.to_owned());
        let service = HistoryWriter { store: store.clone(), settings, archive, max_ahead };
        let run = ConsumerRun::open(&service, store, broker, plan).await?;
        check.ready();
        run.run(check).await
    });
    lead(store, broker, SERVICE, check, work).await.map(|never| match never {})
}

struct HistoryWriter {
    store: Store,
    settings: Settings,
    archive: String,
    max_ahead: MaxAhead,
}

struct State {
    partitions: Partitions,
    instruments: Arc<Instruments>,
    /// Tells which ticks are late. It does not know the ids that were stored before the run: the unique key of the table does.
    filter: TickFilter,
    /// The newest time of each market that was stored before the run.
    stored_until: HashMap<(Symbol, Venue), Timestamp>,
    /// The newest time of each instrument that is stored: candles that end by then have closed.
    closed_until: Arc<ClosedUntil>,
}

type ClosedUntil = HashMap<InstrumentId, Timestamp>;

/// What a batch has saved that the next ones must know.
struct Saved {
    /// The instruments that are new.
    instruments: Instruments,
    /// The instruments that have a newer tick.
    closed_until: ClosedUntil,
    /// The number of events that were added to the outbox.
    events: usize,
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
    type Saved = Saved;
    type Reject = DecodeError;

    async fn restore(&self, _positions: &[u64]) -> Result<State, ServiceError> {
        let partitions = Partitions::open(&self.store, &self.settings, &self.archive).await?;
        let instruments = Arc::new(instruments::list(&self.store).await?);
        let newest = ticks::newest(&self.store).await?;
        let stored_until: HashMap<_, _> =
            newest.iter().map(|market| ((market.symbol.clone(), market.venue.clone()), market.at)).collect();
        let numbers = stored_until.iter().filter_map(|(market, at)| Some((*instruments.get(market)?, *at)));
        let closed_until = Arc::new(numbers.collect());
        Ok(State { partitions, instruments, filter: TickFilter::restore(newest), stored_until, closed_until })
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
            if !is_in_order
                && let Some(newest) = state.filter.newest(&market.0, &market.1)
                && fold::is_late(tick.at, newest)
            {
                effects.late.insert(tick.position, newest);
            }
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
        decided.effects.closed_until = Arc::clone(&state.closed_until);
    }

    async fn maintain(&self, state: &mut State) -> Result<bool, ServiceError> {
        state.partitions.maintain(&self.store).await?;
        Ok(false)
    }

    fn commit(&self, _state: &mut State, commit: Commit<Effects>) -> BoxFuture<'static, Result<Saved, Error>> {
        let store = self.store.clone();
        Box::pin(async move { commit.in_transaction(&store, |tx, effects| Box::pin(save(tx, effects))).await })
    }

    fn has_added_events(&self, saved: &Saved) -> bool {
        saved.events > 0
    }

    fn committed(&self, state: &mut State, saved: Saved) {
        if !saved.instruments.is_empty() {
            Arc::make_mut(&mut state.instruments).extend(saved.instruments);
        }
        Arc::make_mut(&mut state.closed_until).extend(saved.closed_until);
    }
}

/// The ticks of one batch, and the instruments that are known before it.
#[derive(Default)]
struct Effects {
    /// The pages, with what is known of each of their ticks.
    pages: Vec<(StoredPage, Vec<Arrival>)>,
    /// The ticks that came after a candle of theirs had closed, and the newest time of their market then.
    late: HashMap<TickPosition, Timestamp>,
    /// The number of ticks of months that were dropped.
    dropped: BTreeMap<Month, u64>,
    instruments: Arc<Instruments>,
    closed_until: Arc<ClosedUntil>,
}

/// The rows of a batch.
#[derive(Default)]
struct Rows<'page> {
    new: Vec<NumberedTick<'page>>,
    unknown: Vec<NumberedTick<'page>>,
    out_of_order: Vec<NumberedTick<'page>>,
}

/// Saves the ticks that are not stored yet, with their candles and latest prices, and adds the candles that have closed to the
/// outbox.
async fn save(tx: &mut Tx, effects: Effects) -> Result<Saved, Error> {
    let Effects { pages, late, dropped, instruments, closed_until: before } = effects;
    count_dropped(&dropped);
    let mut added_instruments = Instruments::new();
    let Rows { new, unknown, out_of_order } = numbered(tx, &pages, &instruments, &mut added_instruments).await?;
    let read = new.len() + unknown.len() + out_of_order.len();
    let mut rows = Vec::new();
    // Of a few rows, a statement with its plan costs less than the round trips of a COPY.
    let unknown = if new.len() >= MIN_COPIED && append(tx, &new).await? {
        rows = new;
        unknown
    } else {
        [new, unknown].concat()
    };
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
    let mut folded = fold::fold(rows.iter().copied());
    let late = if late.is_empty() { Vec::new() } else { late_ticks(&rows, &late) };
    fold::count_late(&mut folded, late.iter().copied());
    candles::merge(tx, &folded).await?;
    let newest = newest_per_instrument(&rows);
    ticks::merge_latest(tx, &newest).await?;
    if !late.is_empty() {
        ticks::count_late(tx, &late_per_instrument(&late)).await?;
    }
    let newer = newest.iter().map(|(instrument, tick)| (*instrument, tick.at));
    let newer = newer.filter(|(instrument, at)| before.get(instrument).is_none_or(|before| before < at));
    let closed_until: ClosedUntil = newer.collect();
    let closed = closed_candles(&folded, &before, &closed_until);
    let mut events = Vec::new();
    if !closed.is_empty() {
        events.extend(candles::closed(tx, &closed).await?.iter().map(CandleClosed::to_message));
        outbox::add_without_notify(tx, SERVICE, &events).await?;
    }
    Ok(Saved { instruments: added_instruments, closed_until, events: events.len() })
}

/// Returns the candles that a batch has closed, and those that had closed and that it has changed, each once, in order.
///
/// A candle that it has closed without a tick in it is the one of the newest tick before the batch: those between have no tick.
fn closed_candles(folded: &[PartialCandle], before: &ClosedUntil, newer: &ClosedUntil) -> Vec<CandleKey> {
    let newest = |instrument| newer.get(&instrument).or_else(|| before.get(&instrument)).copied();
    let changed = folded.iter().map(|candle| (candle.instrument, candle.interval, candle.start));
    let open = newer.keys().filter_map(|instrument| Some((*instrument, *before.get(instrument)?)));
    let open =
        open.flat_map(|(instrument, at)| Interval::ALL.map(|interval| (instrument, interval, at.floor(interval))));
    let is_closed = |(instrument, interval, start): &CandleKey| {
        newest(*instrument).is_some_and(|newest| fold::is_closed(*interval, *start, newest))
    };
    changed.chain(open).filter(is_closed).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns those rows that came after a candle of theirs had closed.
fn late_ticks(rows: &[NumberedTick<'_>], late: &HashMap<TickPosition, Timestamp>) -> Vec<LateTick> {
    let late = |(instrument, tick): &NumberedTick<'_>| {
        let newest = *late.get(&tick.position)?;
        Some(LateTick { instrument: *instrument, at: tick.at, newest })
    };
    rows.iter().filter_map(late).collect()
}

fn late_per_instrument(late: &[LateTick]) -> Vec<(InstrumentId, i64)> {
    let mut counts: BTreeMap<InstrumentId, i64> = BTreeMap::new();
    for tick in late {
        *counts.entry(tick.instrument).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// Appends ticks that are newer than all that is stored of their markets, and returns false where some are stored all the same: somebody
/// has changed the latest prices by hand.
async fn append(tx: &mut Tx, new: &[NumberedTick<'_>]) -> Result<bool, Error> {
    let appended = ticks::append(tx, new).await?;
    if !appended {
        warn!(
            ticks = new.len(),
            "ticks that are newer than the latest price are stored already, looking for each of them"
        );
    }
    Ok(appended)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000).expect("a time")
    }

    /// Returns the parts of candles that ticks at these minutes make.
    fn folded(minutes: &[i64]) -> Vec<PartialCandle> {
        let tick = |minute: &i64| events::Tick {
            venue: Venue::parse("test").expect("a venue"),
            symbol: Symbol::parse("SPY").expect("a symbol"),
            price: "5".parse().expect("a price"),
            size: None,
            at: at(*minute),
            received_at: at(*minute),
            kind: events::tick::TickKind::Trade,
            source: TickSource::File,
        };
        let ticks: Vec<_> = minutes.iter().map(tick).collect();
        fold::fold(ticks.iter().map(|tick| (1, StoredTick::of(tick, "7", 1, 0))))
    }

    #[test]
    fn a_candle_closes_once_and_is_closed_again_when_a_late_tick_changes_it() {
        let (one, five, quarter) = (Interval::Minute, Interval::FiveMinutes, Interval::FifteenMinutes);
        // The newest minute before the batch, the minutes of its ticks, and the candles that are closed then.
        for (before, minutes, expected) in [
            (None, &[60][..], &[][..]),
            (None, &[60, 61], &[(one, 60)]),
            (Some(60), &[60], &[]),
            (Some(60), &[61], &[(one, 60)]),
            // Nothing was traded between.
            (Some(60), &[67], &[(one, 60), (five, 60)]),
            (Some(61), &[67, 75], &[(one, 61), (one, 67), (five, 60), (five, 65), (quarter, 60)]),
            // Late, alone and with another that closes.
            (Some(64), &[61], &[(one, 61)]),
            (Some(64), &[61, 65], &[(one, 61), (one, 64), (five, 60)]),
            (Some(66), &[61], &[(one, 61), (five, 60)]),
        ] {
            let before: ClosedUntil = before.map(|minute| (1, at(minute))).into_iter().collect();
            let newest = at(*minutes.iter().max().expect("a tick"));
            let newer = Some((1, newest)).filter(|(_, newest)| before.get(&1).is_none_or(|before| before < newest));
            let found = closed_candles(&folded(minutes), &before, &newer.into_iter().collect());
            let expected: Vec<CandleKey> =
                expected.iter().map(|(interval, start)| (1, *interval, at(*start))).collect();
            assert_eq!(found, expected, "{minutes:?} behind {before:?}");
        }
    }
}
