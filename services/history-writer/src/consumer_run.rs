//! One consumer run of the writer: from the committed position on, until something fails.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use events::{DeadLetter, Symbol, Tick, Venue};
use market_data::{InstrumentId, Month, StoredTick, candles};
use platform::{Batch, Broker, Check, Message, OrderedConsumer, ServiceError};
use store::{
    Error, Store, Tx,
    consumer::{
        dead_letters, leader_lock,
        position::{self, Advance, advance},
    },
    market::history,
    outbox::relay,
};
use tokio::time::{Instant, interval};
use tracing::{debug, info};

use crate::{SERVICE, Settings, partitions::Partitions};

/// How often partitions are maintained while no tick comes.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);

type Instruments = HashMap<(Symbol, Venue), InstrumentId>;

/// What one transaction saves.
struct Decided {
    ticks: Vec<StoredTick>,
    dead_letters: Vec<DeadLetter>,
}

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
) -> Result<(), ServiceError> {
    let mut leader_lock = leader_lock::acquire(store, SERVICE, check).await?;
    relay::publish_pending(store, SERVICE, broker).await?;
    let mut position = position::read(store, SERVICE, OrderedConsumer::stream_created(broker, SERVICE).await?).await?;
    let mut partitions = Partitions::open(store, settings.retention_days).await?;
    let mut instruments = history::list_instruments(store).await?;
    let mut consumer = OrderedConsumer::open(broker, SERVICE, position).await?;
    info!(service = SERVICE, position, instruments = instruments.len(), "state restored");
    check.ready();
    let lost = leader_lock.lost();
    tokio::pin!(lost);
    let mut maintenance = interval(MAINTAIN_EVERY);
    loop {
        let batch = tokio::select! {
            fault = &mut lost => return Err(fault),
            _ = maintenance.tick() => {
                partitions.maintain(store).await?;
                continue;
            }
            batch = consumer.next(settings.batch) => batch,
        };
        let began = Instant::now();
        let decided = decide(&batch, consumer.stream());
        let months: BTreeSet<Month> = decided.ticks.iter().map(|stored| Month::of(stored.tick.at)).collect();
        partitions.create_missing(store, months).await?;
        let last_event_at = decided.ticks.last().map(|stored| stored.tick.at);
        let moved = Advance { consumer: SERVICE, from: position, to: batch.last, last_event_at };
        let (has_dead_letters, known) = (!decided.dead_letters.is_empty(), instruments.clone());
        instruments = store
            .transaction(move |tx| {
                Box::pin(async move {
                    advance(tx, &[moved]).await?;
                    save(tx, decided, known).await
                })
            })
            .await?;
        position = batch.last;
        if has_dead_letters {
            relay::publish_pending(store, SERVICE, broker).await?;
        }
        consumer.acknowledge(&batch).await;
        record_metrics(&batch, &consumer, began);
    }
}

/// Reads the messages of a batch. A message that is no tick becomes a dead letter.
fn decide(batch: &Batch, stream: &str) -> Decided {
    let mut decided = Decided { ticks: Vec::with_capacity(batch.messages.len()), dead_letters: Vec::new() };
    for message in &batch.messages {
        match message.event::<Tick>() {
            Ok(tick) => {
                let trade_id = trade_id(message, &tick);
                decided.ticks.push(StoredTick { trade_id, sequence: message.sequence, tick });
            }
            Err(reason) => decided.dead_letters.push(message.dead_letter(SERVICE, stream, &reason)),
        }
    }
    decided
}

/// Returns the trade id of a tick: the one in the message's id, or one derived from the content of a tick that was published
/// without an id.
fn trade_id(message: &Message, tick: &Tick) -> String {
    message.id().map_or_else(|| tick.derived_trade_id(), |id| tick.trade_id(id).to_owned())
}

/// Saves the ticks that are not stored yet, with their candles and latest prices, and returns all instruments.
async fn save(tx: &mut Tx, decided: Decided, mut instruments: Instruments) -> Result<Instruments, Error> {
    let Decided { ticks, dead_letters } = decided;
    dead_letters::add(tx, SERVICE, &dead_letters).await?;
    let mut rows = Vec::with_capacity(ticks.len());
    for stored in ticks {
        let key = (stored.tick.symbol.clone(), stored.tick.venue.clone());
        let instrument = match instruments.get(&key) {
            Some(instrument) => *instrument,
            None => {
                let instrument = history::add_instrument(tx, &key.0, &key.1, stored.sequence).await?;
                *instruments.entry(key).or_insert(instrument)
            }
        };
        rows.push((instrument, stored));
    }
    let added = history::add_ticks(tx, &rows).await?;
    let repeated = rows.len() - added.len();
    if repeated > 0 {
        debug!(repeated, "skipped ticks that are stored already");
    }
    metrics::counter!("tickbell_ticks_repeated_total").increment(repeated as u64);
    metrics::counter!("tickbell_ticks_kept_total").increment(added.len() as u64);
    // A repeated tick is in the candles already: folding it again would count it twice.
    rows.retain(|(_, stored)| added.contains(&stored.sequence));
    history::merge_candles(tx, &candles::fold(&rows)).await?;
    history::merge_latest(tx, &newest_per_instrument(rows)).await?;
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

fn record_metrics(batch: &Batch, consumer: &OrderedConsumer, began: Instant) {
    metrics::gauge!("tickbell_consumer_lag", "consumer" => SERVICE).set(consumer.pending() as f64); // float: a gauge is one
    metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => SERVICE).record(began.elapsed());
    metrics::histogram!("tickbell_batch_messages", "consumer" => SERVICE).record(batch.messages.len() as f64); // float: a histogram's
}
