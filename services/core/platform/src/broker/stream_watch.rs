//! Looks at a stream at intervals, also while nothing arrives: whether it still is what its consumer has read.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::debug;

use crate::{
    Broker, ServiceError,
    broker::stream_position::{self, Continuity, StreamPosition},
    runtime::error::error_chain,
};

/// The interval between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Watches a stream until it is dropped.
pub(super) struct StreamWatch {
    stream: String,
    read: watch::Sender<StreamPosition>,
    found: watch::Receiver<Continuity>,
    task: JoinHandle<()>,
}

impl StreamWatch {
    /// Begins to watch a stream that a consumer has read up to a position.
    pub(super) fn start(broker: &Broker, stream: &str, position: StreamPosition) -> Self {
        let (read, positions) = watch::channel(position);
        let (report, found) = watch::channel(Continuity::Continue);
        let task = tokio::spawn(look(broker.clone(), stream.to_owned(), positions, report));
        Self { stream: stream.to_owned(), read, found, task }
    }

    /// Records how far the consumer has read.
    pub(super) fn advance(&self, position: StreamPosition) {
        self.read.send_replace(position);
    }

    /// Returns an error when the stream is another one than the one that was read.
    pub(super) fn verify(&self) -> Result<(), ServiceError> {
        verify(&self.stream, &self.read.borrow(), *self.found.borrow())
    }

    /// Waits until the stream is another one.
    pub(super) async fn changed(&mut self) {
        if self.found.changed().await.is_err() {
            // The task ends only after it has reported a change, which `verify` returns.
            std::future::pending::<()>().await;
        }
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
    positions: watch::Receiver<StreamPosition>,
    report: watch::Sender<Continuity>,
) {
    loop {
        sleep(LOOK_EVERY).await;
        let position = *positions.borrow();
        match stream_position::check(&broker, &stream, &position).await {
            Ok(Continuity::Continue) => {}
            Ok(found) => {
                report.send_replace(found);
                return;
            }
            // The consumer itself reports a broker that does not answer, and a stream that is missing.
            Err(error) => debug!(stream, error = error_chain(&error), "cannot look at the stream"),
        }
    }
}
