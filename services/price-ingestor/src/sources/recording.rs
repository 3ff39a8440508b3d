//! The source `file:PATH`: a recording, published from its beginning to its end.
//!
//! The trade id of a tick is the number of its line, from 1 and with the header, so that publishing the file again
//! makes the same ids. One thread reads and decodes while the batches before it are published.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use events::{OutboundMessage, Tick, Venue};
use market_data::{Recording, RecordingError, RecordingLine, ReplayClock, ReplaySpeed};
use platform::{ServiceError, Shutdown, clock};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tracing::warn;

use crate::{
    progress::Progress,
    publisher::{Publisher, tick_message},
    sources::Speed,
};

/// The number of lines in a batch: as many messages as the broker takes in one atomic batch.
const BATCH_LINES: usize = 1_000;
/// The most batches that are decoded ahead of the publisher.
const MAX_BATCHES_AHEAD: usize = 4;
/// The number of bad lines that are logged one by one; later ones are only counted.
const MAX_LOGGED_BAD_LINES: u64 = 20;

/// Publishes the file; returns when all of it is acknowledged, or after shutdown.
pub(crate) async fn run(
    publisher: &mut Publisher,
    path: &Path,
    speed: Speed,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    match speed {
        Speed::Max => publish_unpaced(publisher, path, shutdown).await,
        Speed::Paced(speed) => publish_paced(publisher, path, speed, shutdown).await,
    }
}

async fn publish_unpaced(publisher: &mut Publisher, path: &Path, shutdown: &Shutdown) -> Result<(), ServiceError> {
    // The decoder's thread also makes the messages, which leaves the publisher's thread time to publish.
    let mut decoder = DecoderThread::<OutboundMessage>::start(path, publisher.venue(), |tick, line| {
        tick_message(&tick, &line.to_string())
    });
    let mut progress = Progress::new(path);
    while let Some(batch) = decoder.next_batch(shutdown).await {
        publisher.publish(&batch.items).await?;
        publisher.count_bad_lines(batch.bad_lines);
        progress.update(batch.bytes_read, publisher.summary());
    }
    decoder.finish(shutdown).await
}

async fn publish_paced(
    publisher: &mut Publisher,
    path: &Path,
    speed: ReplaySpeed,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut decoder = DecoderThread::<(Tick, u64)>::start(path, publisher.venue(), |tick, line| (tick, line));
    let mut progress = Progress::new(path);
    let started = Instant::now();
    let mut clock = None;
    while let Some(batch) = decoder.next_batch(shutdown).await {
        let mut pending = batch.items.as_slice();
        while let Some((next, _)) = pending.first() {
            let clock = *clock.get_or_insert(ReplayClock { speed, start: next.at });
            tokio::select! {
                () = tokio::time::sleep(clock.delay_until(next.at).saturating_sub(started.elapsed())) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            let (due, later) = pending.split_at(count_due(clock, pending, started.elapsed()));
            publisher.publish(&messages_received_now(due)).await?;
            progress.update_partial(batch.bytes_read, later.len(), batch.items.len(), publisher.summary());
            pending = later;
        }
        publisher.count_bad_lines(batch.bad_lines);
        progress.update(batch.bytes_read, publisher.summary());
    }
    decoder.finish(shutdown).await
}

/// Makes the messages of due ticks. A replayed tick counts as received when it is due, not when it was read ahead.
fn messages_received_now(due: &[(Tick, u64)]) -> Vec<OutboundMessage> {
    let received_at = clock::now();
    due.iter().map(|(tick, line)| tick_message(&Tick { received_at, ..tick.clone() }, &line.to_string())).collect()
}

/// Returns how many of the ticks are due; at least one, because the caller has waited for the first.
fn count_due(clock: ReplayClock, ticks: &[(Tick, u64)], elapsed: Duration) -> usize {
    ticks.iter().skip(1).take_while(|(tick, _)| clock.delay_until(tick.at) <= elapsed).count() + 1
}

/// The ticks of some lines of the file, converted to `T`.
struct Batch<T> {
    items: Vec<T>,
    bad_lines: u64,
    /// The number of bytes of the file on disk that were read up to the end of the batch.
    bytes_read: u64,
}

/// The thread that reads and decodes, seen from the publisher.
struct DecoderThread<T> {
    thread: JoinHandle<Result<(), ServiceError>>,
    batches: mpsc::Receiver<Batch<T>>,
}

impl<T: Send + 'static> DecoderThread<T> {
    /// Starts to decode; `convert` gets each tick and the number of its line.
    fn start(path: &Path, venue: &Venue, convert: fn(Tick, u64) -> T) -> Self {
        let (sender, batches) = mpsc::channel(MAX_BATCHES_AHEAD);
        let task = DecodeTask { path: path.to_owned(), venue: venue.clone(), convert, bad_lines: 0 };
        Self { thread: tokio::task::spawn_blocking(move || task.run(&sender)), batches }
    }

    /// Returns the next batch; `None` when the file has ended or failed, or after shutdown.
    async fn next_batch(&mut self, shutdown: &Shutdown) -> Option<Batch<T>> {
        tokio::select! {
            batch = self.batches.recv() => batch,
            () = shutdown.cancelled() => None,
        }
    }

    /// Returns the error of the thread when the file was not read to its end.
    async fn finish(self, shutdown: &Shutdown) -> Result<(), ServiceError> {
        if shutdown.is_cancelled() {
            // The thread is not awaited: it ends when it finds the channel closed, but may block on a pipe until then.
            return Ok(());
        }
        self.thread.await.unwrap_or_else(|error| Err(ServiceError::permanent("decode the file", error)))
    }
}

/// The work of the decoder's thread.
struct DecodeTask<T> {
    path: PathBuf,
    venue: Venue,
    convert: fn(Tick, u64) -> T,
    bad_lines: u64,
}

impl<T> DecodeTask<T> {
    /// Decodes the file to its end, or until nobody receives the batches any more.
    fn run(mut self, batches: &mpsc::Sender<Batch<T>>) -> Result<(), ServiceError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let file = File::open(&self.path).map_err(|error| open_error(&self.path, error))?;
        let file = CountingReader { file, bytes_read: Arc::clone(&bytes_read) };
        let mut recording = Recording::open(file).map_err(|error| self.service_error(error))?;
        loop {
            let (mut batch, end) = self.decode_batch(&mut recording);
            batch.bytes_read = bytes_read.load(Ordering::Relaxed);
            // The channel is closed after a failed publish or a shutdown, which the publisher reports.
            if batches.blocking_send(batch).is_err() {
                return Ok(());
            }
            if let Some(end) = end {
                self.log_bad_line_total();
                return end.map_err(|error| self.service_error(error));
            }
        }
    }

    /// Decodes the next lines. Returns also the result of the file when it has ended.
    fn decode_batch(&mut self, recording: &mut Recording) -> (Batch<T>, Option<Result<(), RecordingError>>) {
        let received_at = clock::now();
        let mut batch = Batch { items: Vec::with_capacity(BATCH_LINES), bad_lines: 0, bytes_read: 0 };
        for _ in 0..BATCH_LINES {
            let RecordingLine { number, trade } = match recording.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return (batch, Some(Ok(()))),
                Err(error) => return (batch, Some(Err(error))),
            };
            match trade {
                Ok(trade) => batch.items.push((self.convert)(trade.into_tick(&self.venue, received_at), number)),
                Err(error) => {
                    batch.bad_lines += 1;
                    self.bad_lines += 1;
                    if self.bad_lines <= MAX_LOGGED_BAD_LINES {
                        warn!(file = %self.path.display(), line = number, %error, "skipped a bad line");
                    }
                }
            }
        }
        (batch, None)
    }

    fn log_bad_line_total(&self) {
        let (file, bad_lines) = (self.path.display(), self.bad_lines);
        if bad_lines > MAX_LOGGED_BAD_LINES {
            warn!(%file, bad_lines, "skipped bad lines; only the first {MAX_LOGGED_BAD_LINES} are logged one by one");
        }
    }

    fn service_error(&self, error: RecordingError) -> ServiceError {
        let path = self.path.display();
        match error {
            RecordingError::Header(error) => ServiceError::permanent(format!("{path} is not a recording"), error),
            RecordingError::Read { lines: 0, error } => open_error(&self.path, error),
            error @ RecordingError::Read { .. } => {
                let what = format!(
                    "{path} is truncated or damaged; the whole lines before the damage are published; get an undamaged copy \
                     and publish it again: no tick will be stored twice"
                );
                ServiceError::permanent(what, error)
            }
        }
    }
}

fn open_error(path: &Path, error: io::Error) -> ServiceError {
    let what = format!("cannot read {}; name a CSV or NDJSON file with --source file:PATH", path.display());
    ServiceError::permanent(what, error)
}

/// A file that counts the bytes that are read from it, for the progress.
struct CountingReader {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Symbol, Timestamp,
        tick::{TickKind, TickSource},
    };

    use super::*;

    fn tick(millis: i64) -> (Tick, u64) {
        let at = Timestamp::from_micros(millis * 1_000).expect("a time");
        let tick = Tick {
            venue: Venue::parse("file").expect("a venue"),
            symbol: Symbol::parse("SPY").expect("a symbol"),
            price: "167.41".parse().expect("a price"),
            size: None,
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        };
        (tick, 2)
    }

    #[test]
    fn ticks_are_due_by_their_own_time_and_late_ones_at_once() {
        let clock = ReplayClock { speed: "10x".parse().expect("a speed"), start: tick(5_000).0.at };
        assert_eq!(clock.delay_until(tick(5_000).0.at), Duration::ZERO);
        assert_eq!(clock.delay_until(tick(8_000).0.at), Duration::from_millis(300));
        assert_eq!(clock.delay_until(tick(1_000).0.at), Duration::ZERO);
        let ticks = [5_000, 5_100, 4_000, 5_200, 9_000, 5_100].map(tick);
        assert_eq!(count_due(clock, &ticks, Duration::from_millis(20)), 4);
        assert_eq!(count_due(clock, &ticks[4..], Duration::ZERO), 1);
    }
}
