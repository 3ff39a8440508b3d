//! `tickbell status`: the position and the lag of each consumer, and the number of deliveries.

use events::{Timestamp, streams::Topology};
use platform::{
    Broker,
    broker::{
        stream_position::{self, Continuity},
        topology,
    },
};
use serde::Serialize;
use store::{
    Store,
    consumer::position,
    notifications::{deliveries, outages},
    outbox,
};

use crate::{
    commands::connect::{broker, settings, store},
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::{print, print_table},
    services::{InUp, SERVICES},
};

/// The answer of the command. A script knows that everything is processed when each lag is 0 and no delivery is waiting.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) deliveries: Deliveries,
}

#[derive(Debug, Serialize)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) stream: String,
    /// The stream sequence of the last message whose effect is committed.
    pub(crate) position: u64,
    /// The number of messages after the position, and of events in the outbox that are not published yet.
    pub(crate) lag: u64,
    pub(crate) last_event_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Deliveries {
    pub(crate) waiting: i64,
    pub(crate) failed: i64,
    /// Why no mail goes out, where none does.
    pub(crate) outage: Option<String>,
}

/// Deposits of `tickbell accounts deposit` leave through the outbox of this name, which no service has.
const OPERATOR: &str = "operator";

pub(crate) async fn run(options: &GlobalOptions, output: &OutputOptions) -> anyhow::Result<Exit> {
    let settings = settings(options)?;
    let status = read(&broker(&settings).await?, &store(&settings).await?).await?;
    if output.json {
        print(&serde_json::to_string(&status)?);
        return Ok(Exit::Done);
    }
    let rows = status.consumers.iter().map(|consumer| {
        let last = consumer.last_event_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let Consumer { name, stream, position, lag, .. } = consumer;
        [name.clone(), stream.clone(), position.to_string(), lag.to_string(), last]
    });
    print_table(&["CONSUMER", "STREAM", "POSITION", "LAG", "LAST EVENT"], &rows.collect::<Vec<_>>());
    let Deliveries { waiting, failed, outage } = &status.deliveries;
    print(&format!("\nDeliveries: {waiting} waiting, {failed} failed"));
    outage.iter().for_each(|outage| print(&format!("Mail: {outage}")));
    Ok(Exit::Done)
}

/// Reads the positions and the lags, in the order of the data flow: the outbox of the operator, then each service with
/// its consumers and its outbox.
pub(crate) async fn read(broker: &Broker, store: &Store) -> anyhow::Result<Status> {
    let declared = Topology::declared()?;
    let mut consumers = Vec::new();
    consumers.extend(unpublished(store, OPERATOR).await?);
    for service in SERVICES.iter().filter(|service| service.run.has_outbox()) {
        let first = consumers.len();
        // The positions of a service that is not part of every installation are elsewhere: those of the Kafka bridge are in Kafka.
        for name in service.consumers.iter().filter(|_| service.in_up != InUp::No) {
            consumers.push(consumer(broker, store, &declared, name).await?);
        }
        let outbox = unpublished(store, service.name).await?;
        match consumers.get_mut(first..).and_then(<[Consumer]>::last_mut) {
            Some(last) => last.lag += outbox.map_or(0, |outbox| outbox.lag),
            None => consumers.extend(outbox),
        }
    }
    let deliveries = deliveries::counts(store).await?;
    let outage = outages::find(store).await?.map(|outage| outage.to_string());
    let deliveries = Deliveries { waiting: deliveries.waiting, failed: deliveries.failed, outage };
    Ok(Status { consumers, deliveries })
}

async fn consumer(broker: &Broker, store: &Store, declared: &Topology, name: &str) -> anyhow::Result<Consumer> {
    // The position is read after the broker's numbers, so that a commit in between can only make the lag too large.
    let stream_end = topology::lag(broker, declared, name).await?;
    let progress = position::progress(store, name).await?;
    // Where the stream is another one than the one that was read, the position says nothing about the messages in it.
    let goes_on = match position::read(store, name).await? {
        Some(saved) => stream_position::continuity(broker, name, &saved).await? == Continuity::Continue,
        None => true,
    };
    let is_at_the_end = goes_on && progress.position >= stream_end.newest;
    let lag = if is_at_the_end { 0 } else { stream_end.unacknowledged.max(1) };
    let stream = declared.consumer(name).map(|(stream, _)| stream.to_owned()).unwrap_or_default();
    Ok(Consumer {
        name: name.to_owned(),
        stream,
        position: progress.position,
        lag,
        last_event_at: progress.last_event_at,
    })
}

/// Returns the outbox of a service that has events to publish as a consumer without a stream, and none if it has none.
async fn unpublished(store: &Store, service: &str) -> anyhow::Result<Option<Consumer>> {
    let lag = outbox::len(store, service).await?.unsigned_abs();
    let name = service.to_owned();
    Ok((lag > 0).then_some(Consumer { name, stream: String::new(), position: 0, lag, last_event_at: None }))
}
