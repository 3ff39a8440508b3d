//! The thread that reads and decodes a recording while the batches before are published.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use events::{Symbol, Tick, Timestamp, Venue};
use market_data::{
    FromTheFuture, LineError, MaxAhead, ReadOptions, Recording, RecordingError, RecordingLine, TickIds,
    recording::is_newest_first, tick_ids::RepeatedId,
};
use platform::{ServiceError, Shutdown, clock, runtime::error::error_chain};
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::warn;

/// The number of lines of a file that are decoded together: enough for full pages where a few symbols take turns.
const FILE_LINES: usize = 10_000;
/// The most batches of a file that are decoded ahead of the publisher.
const FILE_BATCHES_AHEAD: usize = 1;
/// The most lines of a pipe that are decoded ahead of the publisher. Each is handed over at once: the next may be long in coming.
const PIPE_LINES_AHEAD: usize = 10_000;
/// The most ticks that are published together. With those that are decoded ahead, there are at most three times as many in memory,
/// of a few hundred bytes each.
const MAX_TICKS: usize = 10_000;
/// The number of lines from which it is decided whether the newest one is first.
const ORDER_LINES: usize = 1_000;
/// The number of refused lines that are logged one by one; later ones are only counted.
const MAX_LOGGED_LINES: u64 = 20;
/// The most symbols whose rounded prices are logged.
const MAX_LOGGED_SYMBOLS: usize = 1_000;

/// A recording and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The path of the file; none for standard input.
    pub(crate) path: Option<PathBuf>,
    /// How the file is read.
    pub(crate) options: ReadOptions,
    /// The venue of the ticks.
    pub(crate) venue: Venue,
    /// How far the time of a tick may be ahead of the clock.
    pub(crate) max_ahead: MaxAhead,
}

impl Job {
    /// Returns the name of the file in logs and errors.
    pub(crate) fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
    }
}

/// The ticks of some lines of the file, with their ids.
pub(crate) struct Batch {
    pub(crate) ticks: Vec<(Tick, String)>,
    /// The number of lines that are not published.
    pub(crate) refused: u64,
    /// The number of ticks that have fewer digits than the file.
    pub(crate) rounded: u64,
    /// The times of the oldest and the newest tick.
    pub(crate) times: Option<(Timestamp, Timestamp)>,
    /// The number of bytes of the file on disk that were read up to the end of the batch.
    pub(crate) bytes_read: u64,
}

impl Batch {
    fn append(&mut self, mut next: Self) {
        self.ticks.append(&mut next.ticks);
        self.refused += next.refused;
        self.rounded += next.rounded;
        self.bytes_read = next.bytes_read;
        self.times = match (self.times, next.times) {
            (Some((from, to)), Some((oldest, newest))) => Some((from.min(oldest), to.max(newest))),
            (times, next) => times.or(next),
        };
    }
}

/// The thread that reads and decodes, seen from the publisher.
pub(crate) struct DecoderThread {
    thread: JoinHandle<Result<(), ServiceError>>,
    batches: mpsc::Receiver<Batch>,
}

impl DecoderThread {
    /// Starts to decode.
    pub(crate) fn start(job: Job) -> Self {
        let is_file = job.path.as_ref().is_some_and(|path| path.is_file());
        let (sender, batches) = mpsc::channel(if is_file { FILE_BATCHES_AHEAD } else { PIPE_LINES_AHEAD });
        let task = DecodeTask {
            job,
            lines: if is_file { FILE_LINES } else { 1 },
            ids: TickIds::default(),
            accepted: 0,
            refused: 0,
            refused_ahead: 0,
            first_refusal: None,
            rounded_symbols: HashSet::new(),
            first_times: Vec::new(),
        };
        Self { thread: tokio::task::spawn_blocking(move || task.run(&sender)), batches }
    }

    /// Returns what was decoded; `None` when the file has ended or failed, or after shutdown.
    pub(crate) async fn next_batch(&mut self, shutdown: &Shutdown) -> Option<Batch> {
        let mut batch = tokio::select! {
            batch = self.batches.recv() => batch?,
            () = shutdown.cancelled() => return None,
        };
        while batch.ticks.len() < MAX_TICKS
            && let Ok(next) = self.batches.try_recv()
        {
            batch.append(next);
        }
        Some(batch)
    }

    /// Returns the error of the thread when the file was not read to its end, or has nothing in it.
    pub(crate) async fn finish(self, shutdown: &Shutdown) -> Result<(), ServiceError> {
        if shutdown.is_cancelled() {
            // The thread is not awaited: it ends when it finds the channel closed, but may block on a pipe until then.
            return Ok(());
        }
        self.thread.await.unwrap_or_else(|error| Err(ServiceError::permanent("decode the file", error)))
    }
}

/// The reason why a line is not published.
#[derive(Debug, Error)]
enum Refusal {
    /// The line is not a trade.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The id of the trade is that of another one.
    #[error(transparent)]
    Id(#[from] RepeatedId),
    /// The time of the trade is in the future.
    #[error(transparent)]
    Future(#[from] FromTheFuture),
}

/// The work of the decoder's thread.
struct DecodeTask {
    job: Job,
    /// The number of lines that are handed over together.
    lines: usize,
    ids: TickIds,
    accepted: u64,
    refused: u64,
    /// The number of refused lines whose time was in the future.
    refused_ahead: u64,
    first_refusal: Option<String>,
    /// The symbols of which it is logged that digits were cut.
    rounded_symbols: HashSet<Symbol>,
    /// The times of the first ticks, in their order.
    first_times: Vec<Timestamp>,
}

impl DecodeTask {
    /// Decodes the file to its end, or until nobody receives the batches any more.
    fn run(mut self, batches: &mpsc::Sender<Batch>) -> Result<(), ServiceError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut recording = self.open(&bytes_read)?;
        loop {
            let (mut batch, end) = self.decode_batch(&mut recording);
            // A tick that was published late cannot be published again in its order: it would be a repeat.
            if self.first_times.len() < ORDER_LINES {
                let times = batch.ticks.iter().map(|(tick, _)| tick.at);
                self.first_times.extend(times.take(ORDER_LINES - self.first_times.len()));
                if is_newest_first(self.first_times.iter().copied()) {
                    return Err(self.newest_first());
                }
            }
            batch.bytes_read = bytes_read.load(Ordering::Relaxed);
            // The channel is closed after a failed publish or a shutdown, which the publisher reports.
            if batches.blocking_send(batch).is_err() {
                return Ok(());
            }
            if let Some(end) = end {
                self.log_totals();
                end.map_err(|error| self.service_error(error))?;
                return self.require_something();
            }
        }
    }

    fn open(&self, bytes_read: &Arc<AtomicU64>) -> Result<Recording, ServiceError> {
        let Some(path) = &self.job.path else {
            let input = CountingReader { inner: io::stdin(), bytes_read: Arc::clone(bytes_read) };
            return Recording::open_stream(input, &self.job.options).map_err(|error| self.service_error(error));
        };
        let file = File::open(path).map_err(|error| self.open_error(error))?;
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let file = CountingReader { inner: file, bytes_read: Arc::clone(bytes_read) };
        // A named pipe has a path and comes only once.
        let recording = match is_file {
            true => Recording::open(file, &self.job.options),
            false => Recording::open_stream(file, &self.job.options),
        };
        recording.map_err(|error| self.service_error(error))
    }

    /// Decodes the next lines. Returns also the result of the file when it has ended.
    fn decode_batch(&mut self, recording: &mut Recording) -> (Batch, Option<Result<(), RecordingError>>) {
        let received_at = clock::now();
        let ticks = Vec::with_capacity(self.lines);
        let mut batch = Batch { ticks, refused: 0, rounded: 0, times: None, bytes_read: 0 };
        for _ in 0..self.lines {
            let RecordingLine { number, trade } = match recording.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return (batch, Some(Ok(()))),
                Err(error) => return (batch, Some(Err(error))),
            };
            let was_rounded = trade.as_ref().is_ok_and(|trade| trade.was_rounded);
            match self.tick(trade, received_at) {
                Ok((tick, id)) => {
                    if was_rounded {
                        batch.rounded += 1;
                        self.log_rounded(&tick, number);
                    }
                    self.accepted += 1;
                    let (from, to) = batch.times.unwrap_or((tick.at, tick.at));
                    batch.times = Some((from.min(tick.at), to.max(tick.at)));
                    batch.ticks.push((tick, id));
                }
                Err(refusal) => {
                    batch.refused += 1;
                    self.log_refusal(number, &refusal);
                }
            }
        }
        (batch, None)
    }

    fn tick(
        &mut self,
        trade: Result<market_data::RecordedTrade, LineError>,
        received_at: Timestamp,
    ) -> Result<(Tick, String), Refusal> {
        let mut trade = trade?;
        let id = trade.id.take();
        let tick = trade.into_tick(&self.job.venue, received_at);
        self.job.max_ahead.check(tick.at, received_at)?;
        let id = self.ids.next(&tick, id)?;
        Ok((tick, id))
    }

    fn log_refusal(&mut self, line: u64, refusal: &Refusal) {
        self.refused += 1;
        self.first_refusal.get_or_insert_with(|| format!("line {line}: {refusal}"));
        let (file, venue) = (self.job.name(), &self.job.venue);
        if matches!(refusal, Refusal::Future(_)) {
            self.refused_ahead += 1;
            if self.refused_ahead <= MAX_LOGGED_LINES {
                warn!(file, %venue, line, error = %refusal, "skipped a tick from the future");
            }
        } else if self.refused - self.refused_ahead <= MAX_LOGGED_LINES {
            warn!(file, %venue, line, error = %refusal, "skipped a bad line");
        }
    }

    fn log_rounded(&mut self, tick: &Tick, line: u64) {
        if self.rounded_symbols.len() < MAX_LOGGED_SYMBOLS && self.rounded_symbols.insert(tick.symbol.clone()) {
            let (symbol, price) = (&tick.symbol, tick.price);
            warn!(
                file = self.job.name(), line, %symbol, %price,
                "rounded a number with more than 18 decimal places or 28 digits; later ones of the symbol are only counted"
            );
        }
    }

    fn log_totals(&self) {
        let (file, refused) = (self.job.name(), self.refused);
        if refused > MAX_LOGGED_LINES {
            warn!(%file, refused, "skipped lines; only the first {MAX_LOGGED_LINES} are logged one by one");
        }
    }

    /// Returns an error for a file that gave no tick: whoever published it has named another file, or read it wrongly.
    fn require_something(&self) -> Result<(), ServiceError> {
        if self.accepted > 0 {
            return Ok(());
        }
        let cause = match &self.first_refusal {
            Some(first) => format!("none of its {} lines was accepted; the first of them, {first}", self.refused),
            None => "it has a header and no lines below it".to_owned(),
        };
        Err(ServiceError::permanent(format!("{} gave no price", self.job.name()), cause))
    }

    fn newest_first(&self) -> ServiceError {
        let cause = "the times of its lines descend, and all but the first would count as late; add --newest-first";
        ServiceError::permanent(format!("{} is not published", self.job.name()), cause)
    }

    fn service_error(&self, error: RecordingError) -> ServiceError {
        let name = self.job.name();
        match error {
            RecordingError::Shape(_) | RecordingError::Input(_) => {
                ServiceError::permanent(format!("{name} cannot be read as a recording"), error)
            }
            RecordingError::Read { lines: 0, error } => self.open_error(error),
            error @ RecordingError::Read { .. } => {
                let what = format!(
                    "{name} is truncated or damaged; the whole lines before the damage are published; get an undamaged copy \
                     and publish it again: no tick will be stored twice"
                );
                ServiceError::permanent(what, error)
            }
        }
    }

    fn open_error(&self, error: io::Error) -> ServiceError {
        let name = self.job.name();
        let what =
            format!("cannot read {name}; name a CSV or NDJSON file with --source file:PATH, or - for standard input");
        ServiceError::permanent(what, error_chain(&error))
    }
}

/// A file that counts the bytes that are read from it, for the progress.
struct CountingReader<R> {
    inner: R,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: Seek> Seek for CountingReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = self.inner.seek(to)?;
        self.bytes_read.store(position, Ordering::Relaxed);
        Ok(position)
    }
}
