//! `tickbell status`: how far everything is.

use events::{Timestamp, streams::Topology};
use platform::{Broker, broker::topology};
use serde::Serialize;
use store::{Store, consumer::position, notifications::deliveries, outbox};

use super::{broker, settings, store};
use crate::{
    cli::{Common, Output},
    exit::Exit,
    print::say,
};

/// What a script reads: lag 0 everywhere and nothing waiting is how it knows that all is processed.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) deliveries: Deliveries,
}

#[derive(Debug, Serialize)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) stream: String,
    /// The last sequence that is applied and committed.
    pub(crate) position: u64,
    /// Messages that are not, and facts that are committed and not yet published.
    pub(crate) lag: u64,
    pub(crate) last_event_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Deliveries {
    pub(crate) waiting: i64,
    pub(crate) failed: i64,
}

/// In the direction of the flow, so that a message cannot slip from a stage that is yet to be asked into one that has
/// been: each service with the consumers it reads by and the outbox it writes to.
const FLOW: [(&str, &[&str]); 6] = [
    ("operator", &[]),
    ("gateway", &[]),
    ("history-writer", &["history-writer"]),
    ("alert-engine", &["alert-engine-rules", "alert-engine"]),
    ("trade-settler", &["trade-settler", "trade-settler-alerts", "trade-settler-orders"]),
    ("notifier", &["notifier-rules", "notifier-users", "notifier-trades", "notifier"]),
];

pub(crate) async fn run(common: &Common, output: &Output) -> anyhow::Result<Exit> {
    let settings = settings(common)?;
    let status = read(&broker(&settings).await?, &store(&settings).await?).await?;
    if output.json {
        say(&serde_json::to_string(&status)?);
        return Ok(Exit::Done);
    }
    say(&format!("{:<20} {:<8} {:>12} {:>10}  last event", "consumer", "stream", "position", "lag"));
    for consumer in &status.consumers {
        let Consumer { name, stream, position, lag, last_event_at } = consumer;
        let last = last_event_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        say(&format!("{name:<20} {stream:<8} {position:>12} {lag:>10}  {last}"));
    }
    say(&format!("deliveries: {} waiting, {} failed", status.deliveries.waiting, status.deliveries.failed));
    Ok(Exit::Done)
}

/// Asks the broker and the database.
pub(crate) async fn read(broker: &Broker, store: &Store) -> anyhow::Result<Status> {
    let declared = Topology::declared()?;
    let mut consumers = Vec::new();
    for (service, names) in FLOW {
        let first = consumers.len();
        for name in names {
            consumers.push(consumer(broker, store, &declared, name).await?);
        }
        let unpublished = outbox::len(&store, service).await?.unsigned_abs();
        match consumers.get_mut(first..).and_then(<[Consumer]>::last_mut) {
            Some(last) => last.lag += unpublished,
            None if unpublished > 0 => consumers.push(relay(service, unpublished)),
            None => {}
        }
    }
    let deliveries = deliveries::counts(&store).await?;
    let deliveries = Deliveries { waiting: deliveries.waiting, failed: deliveries.failed };
    Ok(Status { consumers, deliveries })
}

async fn consumer(broker: &Broker, store: &Store, declared: &Topology, name: &str) -> anyhow::Result<Consumer> {
    // The position is read after the broker's numbers: what is committed in between only makes the lag look larger.
    let there = topology::lag(broker, declared, name).await?;
    let progress = position::progress(&store, name).await?;
    let lag = if progress.position >= there.newest { 0 } else { there.unacknowledged.max(1) };
    let stream = declared.consumer(name).map(|(stream, _)| stream.to_owned()).unwrap_or_default();
    Ok(Consumer {
        name: name.to_owned(),
        stream,
        position: progress.position,
        lag,
        last_event_at: progress.last_event_at,
    })
}

/// A service that reads no stream and has facts to publish.
fn relay(service: &str, lag: u64) -> Consumer {
    Consumer { name: service.to_owned(), stream: String::new(), position: 0, lag, last_event_at: None }
}
