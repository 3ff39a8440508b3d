//! One session of the writer: from the committed position on, until something fails.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use events::{Symbol, Tick, Timestamp, Venue};
use platform::{Batch, Broker, Check, Message, OrderedConsumer, ServiceError};
use store::{
    Error, Store, Tx,
    consumer::{
        dead_letters, leader_lock,
        position::{self, Advance, advance},
    },
    market::history::{self, InstrumentId, Month, StoredTick},
    outbox::relay,
};
use tokio::time::{Instant, interval};
use tracing::{debug, info};

use crate::{SERVICE, Settings, candles, partitions::Partitions};

/// How often partitions are looked after while no tick comes.
const TEND_EVERY: Duration = Duration::from_secs(60);

type Instruments = HashMap<(Symbol, Venue), InstrumentId>;

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
) -> Result<(), ServiceError> {
    let mut leader_lock = leader_lock::acquire(&store, SERVICE, check).await?;
    relay::publish_pending(&store, SERVICE, broker).await?;
    let mut position = position::read(&store, SERVICE, OrderedConsumer::stream_created(broker, SERVICE).await?).await?;
    let mut partitions = Partitions::open(store, settings.retention_days).await?;
    let mut instruments = history::list_instruments(&store).await?;
    let mut ticks = OrderedConsumer::open(broker, SERVICE, position).await?;
    info!(service = SERVICE, position, instruments = instruments.len(), "recalled");
    check.ready();
    let lost = leader_lock.lost();
    tokio::pin!(lost);
    let mut tend = interval(TEND_EVERY);
    loop {
        let batch = tokio::select! {
            fault = &mut lost => return Err(fault),
            _ = tend.tick() => {
                partitions.tend(store).await?;
                continue;
            }
            batch = ticks.next(settings.batch) => batch,
        };
        let began = Instant::now();
        let (kept, dead) = read(&batch, ticks.stream());
        let months: BTreeSet<Month> = kept.iter().map(|kept| Month::of(kept.tick.at)).collect();
        partitions.make(store, months).await?;
        let last_event_at = kept.last().map(|kept| kept.tick.at);
        let done = Advance { consumer: SERVICE, from: position, to: batch.last, last_event_at };
        let (gave_up, known) = (!dead.is_empty(), instruments.clone());
        instruments = store
            .transaction(move |tx| {
                Box::pin(async move {
                    advance(tx, &[done]).await?;
                    dead_letters::add(tx, SERVICE, &dead).await?;
                    write(tx, kept, known).await
                })
            })
            .await?;
        position = batch.last;
        if gave_up {
            relay::publish_pending(&store, SERVICE, broker).await?;
        }
        ticks.acknowledge(&batch).await;
        measure(&batch, &ticks, began);
    }
}

fn read(batch: &Batch, stream: &str) -> (Vec<StoredTick>, Vec<events::DeadLetter>) {
    let (mut kept, mut dead) = (Vec::with_capacity(batch.messages.len()), Vec::new());
    for message in &batch.messages {
        match message.event::<Tick>() {
            Ok(tick) => kept.push(StoredTick { trade_id: trade_id(message, &tick), sequence: message.sequence, tick }),
            Err(reason) => dead.push(message.dead_letter(SERVICE, stream, &reason)),
        }
    }
    (kept, dead)
}

/// A tick that somebody published without an id has the one its content gives it.
fn trade_id(message: &Message, tick: &Tick) -> String {
    message.id().map_or_else(|| tick.derived_trade_id(), |id| tick.trade_id(id).to_owned())
}

/// Writes ticks that are not there yet, and what they make of candles and latest prices. Returns all instruments.
async fn write(tx: &mut Tx, kept: Vec<StoredTick>, mut instruments: Instruments) -> Result<Instruments, Error> {
    let mut rows = Vec::with_capacity(kept.len());
    for kept in kept {
        let name = (kept.tick.symbol.clone(), kept.tick.venue.clone());
        let instrument = match instruments.get(&name) {
            Some(instrument) => *instrument,
            None => {
                let instrument = history::add_instrument(tx, &name.0, &name.1, kept.sequence).await?;
                *instruments.entry(name).or_insert(instrument)
            }
        };
        rows.push((instrument, kept));
    }
    let added = history::add_ticks(tx, &rows).await?;
    let repeated = rows.len() - added.len();
    if repeated > 0 {
        debug!(repeated, "ticks were there already");
    }
    metrics::counter!("tickbell_ticks_repeated_total").increment(repeated as u64);
    metrics::counter!("tickbell_ticks_kept_total").increment(added.len() as u64);
    rows.retain(|(_, kept)| added.contains(&kept.sequence));
    history::merge_candles(tx, &candles::fold(&rows)).await?;
    history::merge_latest(tx, &newest(rows)).await?;
    Ok(instruments)
}

/// The newest tick of each instrument by (time, sequence).
fn newest(rows: Vec<(InstrumentId, StoredTick)>) -> Vec<(InstrumentId, StoredTick)> {
    let mut newest: HashMap<InstrumentId, StoredTick> = HashMap::new();
    for (instrument, kept) in rows {
        let place = |kept: &StoredTick| -> (Timestamp, u64) { (kept.tick.at, kept.sequence) };
        if newest.get(&instrument).is_none_or(|there| place(there) < place(&kept)) {
            newest.insert(instrument, kept);
        }
    }
    newest.into_iter().collect()
}

fn measure(batch: &Batch, ticks: &OrderedConsumer, began: Instant) {
    metrics::gauge!("tickbell_consumer_lag", "consumer" => SERVICE).set(ticks.pending() as f64); // float: a gauge is one
    metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => SERVICE).record(began.elapsed());
    metrics::histogram!("tickbell_batch_messages", "consumer" => SERVICE).record(batch.messages.len() as f64); // float: a histogram's
}
