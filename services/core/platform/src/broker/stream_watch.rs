//! Looks at a stream and its consumer at intervals, also while nothing arrives: whether the stream still is what the consumer
//! has read, and whether the broker has delivered what did not arrive.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::debug;

use crate::{
    Broker, ServiceError,
    broker::{
        stream_position::{self, Continuity, StreamPosition},
        topology,
    },
    runtime::error::error_chain,
};

/// The interval between two looks at the consumer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The number of looks at the consumer for each look at the stream, which costs more requests.
const LOOKS_PER_STREAM: u64 = 3;

/// Watches a stream and a consumer until it is dropped.
pub(super) struct StreamWatch {
    stream: String,
    read: watch::Sender<StreamPosition>,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

/// The state of the stream and of the consumer at the last look.
#[derive(Debug, Clone, Copy)]
struct Seen {
    continuity: Continuity,
    /// The stream sequence of the last message that the broker has delivered to any reader of the consumer.
    delivered: u64,
}

impl StreamWatch {
    /// Begins to watch the stream of a consumer that has read up to a position.
    pub(super) fn start(broker: &Broker, stream: &str, consumer: &str, position: StreamPosition) -> Self {
        let (read, positions) = watch::channel(position);
        let (report, seen) = watch::channel(Seen { continuity: Continuity::Continue, delivered: 0 });
        let task = tokio::spawn(look(broker.clone(), stream.to_owned(), consumer.to_owned(), positions, report));
        Self { stream: stream.to_owned(), read, seen, task }
    }

    /// Records how far the consumer has read.
    pub(super) fn advance(&self, position: StreamPosition) {
        self.read.send_replace(position);
    }

    /// Returns an error when the stream is another one than the one that was read.
    pub(super) fn verify(&self) -> Result<(), ServiceError> {
        verify(&self.stream, &self.read.borrow(), self.seen.borrow().continuity)
    }

    /// Waits for the next look, and returns the stream sequence of the last message that the broker has delivered.
    pub(super) async fn next_look(&mut self) -> u64 {
        if self.seen.changed().await.is_err() {
            // The task ends only after it has reported another stream, which `verify` returns.
            std::future::pending::<()>().await;
        }
        self.seen.borrow().delivered
    }
}

impl Drop for StreamWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns an error when a stream is another one than the one that was read up to a position.
pub(super) fn verify(stream: &str, position: &StreamPosition, found: Continuity) -> Result<(), ServiceError> {
    if found == Continuity::Continue {
        return Ok(());
    }
    let what = format!("read stream {stream} behind message {}", position.sequence);
    Err(ServiceError::transient(what, found.sentence()))
}

async fn look(
    broker: Broker,
    stream: String,
    consumer: String,
    positions: watch::Receiver<StreamPosition>,
    report: watch::Sender<Seen>,
) {
    for number in 1.. {
        sleep(LOOK_EVERY).await;
        let position = *positions.borrow();
        let looked = async {
            let delivered = topology::existing_consumer(&broker, &stream, &consumer).await?.delivered.stream_sequence;
            let continuity = match number % LOOKS_PER_STREAM {
                0 => stream_position::check(&broker, &stream, &position).await?,
                _ => Continuity::Continue,
            };
            Ok::<_, ServiceError>(Seen { continuity, delivered })
        };
        match broker.on_connection(looked).await {
            Some(Ok(seen)) => {
                report.send_replace(seen);
                if seen.continuity != Continuity::Continue {
                    return;
                }
            }
            // The consumer itself reports a broker that does not answer, and a stream that is missing.
            Some(Err(error)) => debug!(stream, consumer, error = error_chain(&error), "cannot look at the stream"),
            None => {}
        }
    }
}
