//! A recorded file, published from its beginning to its end.
//!
//! A tick's trade id is the number of its line, counted from 1 with the header: publishing the file again makes the
//! same ids. One thread reads and decodes while the batches before it are published.

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
use market_data::{Recording, RecordingError, ReplayClock, ReplaySpeed};
use platform::{ServiceError, Shutdown, clock};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tracing::warn;

use crate::{
    progress::Progress,
    publisher::{Publisher, message},
    source::Speed,
};

/// Lines read at a time: as many as the broker takes in one atomic batch.
const CHUNK_LINES: usize = 1_000;
/// Chunks that are decoded and not published.
const CHUNKS_AHEAD: usize = 4;
/// Bad lines that are logged; beyond these they are only counted.
const BAD_LINES_SHOWN: u64 = 20;

/// Publishes the file and returns when all of it is acknowledged.
pub(crate) async fn run(
    publisher: &mut Publisher,
    path: &Path,
    speed: Speed,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    match speed {
        Speed::Max => at_once(publisher, path, shutdown).await,
        Speed::Times(factor) => paced(publisher, path, factor, shutdown).await,
    }
}

async fn at_once(publisher: &mut Publisher, path: &Path, shutdown: &Shutdown) -> Result<(), ServiceError> {
    // Messages are made by the thread that decodes, which leaves the publishing one its time.
    let mut reader =
        Reader::<OutboundMessage>::start(path, publisher.venue(), |tick, line| message(&tick, &line.to_string()));
    let mut progress = Progress::new(path);
    while let Some(chunk) = reader.next(shutdown).await {
        publisher.publish(&chunk.ticks).await?;
        publisher.count_bad_lines(chunk.bad_lines);
        progress.show(chunk.bytes_read, publisher.summary());
    }
    reader.end(shutdown).await
}

async fn paced(
    publisher: &mut Publisher,
    path: &Path,
    factor: ReplaySpeed,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut reader = Reader::<(Tick, u64)>::start(path, publisher.venue(), |tick, line| (tick, line));
    let mut progress = Progress::new(path);
    let began = Instant::now();
    let mut pace = None;
    while let Some(chunk) = reader.next(shutdown).await {
        let mut waiting = chunk.ticks.as_slice();
        while let Some((next, _)) = waiting.first() {
            let pace = *pace.get_or_insert(ReplayClock { factor, start: next.at });
            tokio::select! {
                () = tokio::time::sleep(pace.due(next.at).saturating_sub(began.elapsed())) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            let (due, later) = waiting.split_at(count_due(pace, waiting, began.elapsed()));
            publisher.publish(&received_now(due)).await?;
            progress.show_part(chunk.bytes_read, later.len(), chunk.ticks.len(), publisher.summary());
            waiting = later;
        }
        publisher.count_bad_lines(chunk.bad_lines);
        progress.show(chunk.bytes_read, publisher.summary());
    }
    reader.end(shutdown).await
}

/// A tick that is played is received when its time comes, not when it was read ahead.
fn received_now(due: &[(Tick, u64)]) -> Vec<OutboundMessage> {
    let received_at = clock::now();
    due.iter().map(|(tick, line)| message(&Tick { received_at, ..tick.clone() }, &line.to_string())).collect()
}

/// How many of the ticks are due; at least the first, whose time the caller has waited for.
fn count_due(pace: ReplayClock, ticks: &[(Tick, u64)], elapsed: Duration) -> usize {
    ticks.iter().skip(1).take_while(|(tick, _)| pace.due(tick.at) <= elapsed).count() + 1
}

/// Some of the file's lines.
struct Chunk<T> {
    ticks: Vec<T>,
    bad_lines: u64,
    /// Bytes of the file, as it is on disk, that were read up to the chunk's end.
    bytes_read: u64,
}

/// The thread that reads and decodes, and what comes from it.
struct Reader<T> {
    thread: JoinHandle<Result<(), ServiceError>>,
    chunks: mpsc::Receiver<Chunk<T>>,
}

impl<T: Send + 'static> Reader<T> {
    fn start(path: &Path, venue: &Venue, make: fn(Tick, u64) -> T) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let decoding = Decoding { path: path.to_owned(), venue: venue.clone(), make, bad_lines: 0 };
        Self { thread: tokio::task::spawn_blocking(move || decoding.run(&sender)), chunks }
    }

    async fn next(&mut self, shutdown: &Shutdown) -> Option<Chunk<T>> {
        tokio::select! {
            chunk = self.chunks.recv() => chunk,
            () = shutdown.cancelled() => None,
        }
    }

    /// Whether the file was read to its end.
    async fn end(self, shutdown: &Shutdown) -> Result<(), ServiceError> {
        if shutdown.is_cancelled() {
            // The thread sees that nobody listens and ends; it may hang on a pipe that nobody writes to.
            return Ok(());
        }
        self.thread.await.unwrap_or_else(|error| Err(ServiceError::permanent("decode the file", error)))
    }
}

struct Decoding<T> {
    path: PathBuf,
    venue: Venue,
    make: fn(Tick, u64) -> T,
    bad_lines: u64,
}

impl<T> Decoding<T> {
    fn run(mut self, chunks: &mpsc::Sender<Chunk<T>>) -> Result<(), ServiceError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let file = File::open(&self.path).map_err(|error| unreadable(&self.path, error))?;
        let file = Counted { file, bytes_read: Arc::clone(&bytes_read) };
        let mut recording = Recording::open(file).map_err(|error| self.fault(error))?;
        loop {
            let (mut chunk, end) = self.chunk(&mut recording);
            chunk.bytes_read = bytes_read.load(Ordering::Relaxed);
            // Nobody receives after a failed publish or a shutdown, which are told elsewhere.
            if chunks.blocking_send(chunk).is_err() {
                return Ok(());
            }
            if let Some(end) = end {
                self.say_bad_lines();
                return end.map_err(|error| self.fault(error));
            }
        }
    }

    /// The next lines, and how the file ended when it did.
    fn chunk(&mut self, recording: &mut Recording) -> (Chunk<T>, Option<Result<(), RecordingError>>) {
        let received_at = clock::now();
        let mut chunk = Chunk { ticks: Vec::with_capacity(CHUNK_LINES), bad_lines: 0, bytes_read: 0 };
        for _ in 0..CHUNK_LINES {
            match recording.next_row() {
                Ok(Some((line, Ok(row)))) => chunk.ticks.push((self.make)(row.tick(&self.venue, received_at), line)),
                Ok(Some((line, Err(error)))) => {
                    chunk.bad_lines += 1;
                    self.bad_lines += 1;
                    if self.bad_lines <= BAD_LINES_SHOWN {
                        warn!(file = %self.path.display(), line, %error, "bad line passed over");
                    }
                }
                Ok(None) => return (chunk, Some(Ok(()))),
                Err(error) => return (chunk, Some(Err(error))),
            }
        }
        (chunk, None)
    }

    fn say_bad_lines(&self) {
        let (file, bad_lines) = (self.path.display(), self.bad_lines);
        if bad_lines > BAD_LINES_SHOWN {
            warn!(%file, bad_lines, "bad lines passed over; only the first {BAD_LINES_SHOWN} are logged one by one");
        }
    }

    fn fault(&self, error: RecordingError) -> ServiceError {
        let path = self.path.display();
        match error {
            RecordingError::Header(error) => ServiceError::permanent(format!("{path} is no recording"), error),
            RecordingError::Read { lines: 0, error } => unreadable(&self.path, error),
            error @ RecordingError::Read { .. } => {
                let what = format!(
                    "{path} ends early or is damaged; every whole line before is published; get the file whole and \
                     publish it again, no tick will be there twice"
                );
                ServiceError::permanent(what, error)
            }
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> ServiceError {
    let what = format!("cannot read {}; name a CSV or NDJSON file with --source file:PATH", path.display());
    ServiceError::permanent(what, error)
}

/// Counts the bytes that are read, for the progress.
struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
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
        let Ok(Speed::Times(factor)) = "10x".parse() else { panic!("a factor") };
        let pace = ReplayClock { factor, start: tick(5_000).0.at };
        assert_eq!(pace.due(tick(5_000).0.at), Duration::ZERO);
        assert_eq!(pace.due(tick(8_000).0.at), Duration::from_millis(300));
        assert_eq!(pace.due(tick(1_000).0.at), Duration::ZERO);
        let ticks = [5_000, 5_100, 4_000, 5_200, 9_000, 5_100].map(tick);
        assert_eq!(count_due(pace, &ticks, Duration::from_millis(20)), 4);
        assert_eq!(count_due(pace, &ticks[4..], Duration::ZERO), 1);
    }
}
