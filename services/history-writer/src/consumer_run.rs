//! How ticks become rows of history, candles and latest prices.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use events::{Event, Symbol, Tick, Timestamp, Venue};
use futures::future::BoxFuture;
use market_data::{InstrumentId, Month, StoredTick, candles::fold};
use platform::{Broker, Check, DecodeError, Message, ServiceError};
use store::{
    Error, Store, Tx,
    consumer::{
        position,
        runner::{ConsumerRun, lead},
        service::{Commit, ConsumerService, Decided, Plan},
    },
    market::{candles, instruments, ticks},
};
use tracing::debug;

use crate::{SERVICE, Settings, partitions::Partitions};

/// How often partitions are maintained.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);

type Instruments = HashMap<(Symbol, Venue), InstrumentId>;

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
) -> Result<(), ServiceError> {
    let plan = Plan { maintain_every: Some(MAINTAIN_EVERY), ..Plan::new(SERVICE, &[SERVICE], settings.batch) };
    let work = async {
        let service = HistoryWriter { store: store.clone(), retention_days: settings.retention_days };
        let run = ConsumerRun::open(&service, store, broker, plan).await?;
        check.ready();
        run.run().await
    };
    lead(store, broker, SERVICE, check, work).await.map(|never| match never {})
}

struct HistoryWriter {
    store: Store,
    retention_days: u32,
}

struct State {
    partitions: Partitions,
    instruments: Instruments,
}

impl ConsumerService for HistoryWriter {
    type Event = Tick;
    type State = State;
    type Effects = Effects;
    type Saved = Instruments;
    type Reject = DecodeError;

    async fn read_position(&self, consumer: &str, stream_created: Timestamp) -> Result<u64, ServiceError> {
        Ok(position::read(&self.store, consumer, stream_created).await?)
    }

    async fn restore(&self, _positions: &[u64]) -> Result<State, ServiceError> {
        let partitions = Partitions::open(&self.store, self.retention_days).await?;
        Ok(State { partitions, instruments: instruments::list(&self.store).await? })
    }

    fn decode(&self, _consumer: usize, message: &Message) -> Result<Tick, DecodeError> {
        message.event()
    }

    fn event_time(&self, tick: &Tick) -> Option<Timestamp> {
        Some(tick.ce_time())
    }

    async fn prepare(&self, state: &mut State, ticks: &[&Tick]) -> Result<(), ServiceError> {
        let months: BTreeSet<Month> = ticks.iter().map(|tick| Month::of(tick.at)).collect();
        Ok(state.partitions.create_missing(&self.store, months).await?)
    }

    fn decide(
        &self,
        _state: &mut State,
        tick: Tick,
        message: &Message,
        decided: &mut Decided<Effects>,
    ) -> Result<(), DecodeError> {
        let trade_id = trade_id(message, &tick);
        decided.effects.ticks.push(StoredTick { trade_id, sequence: message.sequence, tick });
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
    instruments: Instruments,
}

/// Returns the trade id of a tick: the one in the message's id, or one derived from the content of a tick that was published
/// without an id.
fn trade_id(message: &Message, tick: &Tick) -> String {
    message.id().map_or_else(|| tick.derived_trade_id(), |id| tick.trade_id(id).to_owned())
}

/// Saves the ticks that are not stored yet, with their candles and latest prices, and returns all instruments.
async fn save(tx: &mut Tx, effects: Effects) -> Result<Instruments, Error> {
    let Effects { ticks, mut instruments } = effects;
    let mut rows = Vec::with_capacity(ticks.len());
    for stored in ticks {
        let key = (stored.tick.symbol.clone(), stored.tick.venue.clone());
        let instrument = match instruments.get(&key) {
            Some(instrument) => *instrument,
            None => {
                let instrument = instruments::add(tx, &key.0, &key.1, stored.sequence).await?;
                *instruments.entry(key).or_insert(instrument)
            }
        };
        rows.push((instrument, stored));
    }
    let added = ticks::add(tx, &rows).await?;
    let repeated = rows.len() - added.len();
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

fn newest_per_instrument(rows: Vec<(InstrumentId, StoredTick)>) -> Vec<(InstrumentId, StoredTick)> {
    let mut newest: HashMap<InstrumentId, StoredTick> = HashMap::new();
    for (instrument, stored) in rows {
        if newest.get(&instrument).is_none_or(|other| other.order_key() < stored.order_key()) {
            newest.insert(instrument, stored);
        }
    }
    newest.into_iter().collect()
}
