//! Records exchanges: their connections are made and kept alive as for prices, and each message is written as it was received.
//!
//! The decoder of each venue stands behind one that writes what it is given. So a tape has what the decoders read, to the byte,
//! and playing it goes through the same decoders. Nothing is asked for by REST but the list of products.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use events::{Symbol, Timestamp, Venue};
use platform::{ServiceError, Shutdown};
use reqwest::Url;
use thiserror::Error;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::interval,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    line::{Content, ProductSymbols},
    writer::{TapeLimits, TapeTotals, TapeWriteError, TapeWriter},
};
use crate::sources::exchange::{
    adapter::{Action, Adapter, Product, Profile, Request, TradePage, Window},
    feed::{self, Checkpoints, FeedConfig, FeedEvent, FeedState},
    message::{DecodeError, Message, Trades},
};

/// The most messages that wait for the disk, and the most bytes of them. Beyond both they are counted as lost.
const MAX_WAITING: usize = 65_536;
const MAX_WAITING_BYTES: usize = 64 << 20;
/// How often what was written is handed to the operating system: a recorder that is killed loses no more.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How often the status is logged.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// The most batches of a feed that wait; the recorder only counts them.
const MAX_WAITING_BATCHES: usize = 64;

/// The reason why a recording has ended early.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The tape cannot be written.
    #[error(transparent)]
    Write(#[from] TapeWriteError),
    /// An exchange cannot be followed.
    #[error(transparent)]
    Feed(#[from] ServiceError),
}

/// What a recording has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordingStatus {
    /// The messages that were received.
    pub received: u64,
    /// Those of them that the disk was too slow for.
    pub lost: u64,
    /// The trades in them.
    pub trades: u64,
    /// Those that could not be decoded; they are on the tape.
    pub bad_messages: u64,
    /// What the tape has so far.
    pub totals: TapeTotals,
    /// The symbols that do not arrive, and why.
    pub failing: BTreeMap<(Venue, Symbol), String>,
}

/// Records exchanges into a folder.
pub struct Recorder {
    tape: TapeSender,
    writer: JoinHandle<Result<TapeTotals, TapeWriteError>>,
    clock: fn() -> Timestamp,
}

impl Recorder {
    /// Opens the folder. `clock` says when a message was received.
    pub fn open(folder: &Path, limits: TapeLimits, clock: fn() -> Timestamp) -> Result<Self, RecordError> {
        let writer = TapeWriter::open(folder, limits)?;
        let (sender, entries) = sync_channel(MAX_WAITING);
        let shared = Arc::new(Shared::default());
        let tape = TapeSender { sender, shared: Arc::clone(&shared) };
        let writer = spawn_blocking(move || write(writer, &entries, &shared));
        Ok(Self { tape, writer, clock })
    }

    /// Follows the exchanges and writes what they send, until shutdown or until the tape cannot be written. Returns what was
    /// done; `report` gets it again and again meanwhile.
    pub async fn run(
        self,
        configs: Vec<FeedConfig>,
        shutdown: &Shutdown,
        mut report: impl FnMut(&RecordingStatus),
    ) -> Result<RecordingStatus, RecordError> {
        let Self { tape, mut writer, clock } = self;
        let stop = shutdown.child_token();
        // Dropped with this function, so that a failure to write ends the feeds too, and a failure of theirs the writer.
        let _ends_the_feeds = stop.clone().drop_guard();
        let _ends_the_writer = tape.shared.is_over.clone().drop_guard();
        let (sender, mut events) = mpsc::channel(MAX_WAITING_BATCHES);
        let mut feeds = JoinSet::new();
        for config in configs {
            feeds.spawn(follow(config, tape.clone(), clock, sender.clone(), stop.clone()));
        }
        drop(sender);
        let mut status = RecordingStatus::default();
        let mut timer = interval(STATUS_INTERVAL);
        loop {
            tokio::select! {
                // It ends by itself only where it cannot write.
                ended = &mut writer => return Err(writer_result(ended).err().unwrap_or_else(writer_ended)),
                batch = events.recv() => match batch {
                    Some((venue, batch)) => status.take(&venue, batch),
                    None => break,
                },
                _ = timer.tick() => {
                    tape.shared.read(&mut status);
                    report(&status);
                }
            }
        }
        let mut failure = None;
        while let Some(ended) = feeds.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(ServiceError::permanent("record an exchange", error)));
            failure = failure.or(ended.err());
        }
        let shared = Arc::clone(&tape.shared);
        // The channel may be full, and the writer may have failed meanwhile, which its own result says.
        let _ = spawn_blocking(move || tape.sender.send(Entry::End)).await;
        let totals = writer_result(writer.await)?;
        shared.read(&mut status);
        status.totals = totals;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(status),
        }
    }
}

fn writer_result(
    ended: Result<Result<TapeTotals, TapeWriteError>, tokio::task::JoinError>,
) -> Result<TapeTotals, RecordError> {
    let written = ended.map_err(|error| ServiceError::permanent("write a tape", error))?;
    Ok(written?)
}

fn writer_ended() -> RecordError {
    ServiceError::permanent("write a tape", "its writer has ended before its time").into()
}

impl RecordingStatus {
    fn take(&mut self, venue: &Venue, events: Vec<FeedEvent>) {
        for event in events {
            match event {
                FeedEvent::Tick(..) | FeedEvent::FromTheFuture(_) => self.trades += 1,
                FeedEvent::BadMessage(_) => self.bad_messages += 1,
                FeedEvent::State(symbol, state) => {
                    let why = match state {
                        FeedState::Live | FeedState::Stale => None,
                        FeedState::Reconnecting(why) => Some(format!("reconnecting: {why}")),
                        FeedState::Refused(why) => Some(format!("refused: {why}")),
                    };
                    let key = (venue.clone(), symbol);
                    match why {
                        Some(why) => {
                            warn!(%venue, symbol = %key.1, why, "a symbol is not recorded");
                            self.failing.insert(key, why);
                        }
                        None => {
                            if self.failing.remove(&key).is_some() {
                                info!(%venue, symbol = %key.1, "a symbol is recorded");
                            }
                        }
                    }
                }
                // A gap is not filled: it is a hole of the tape too.
                FeedEvent::Gap(..) | FeedEvent::Checkpoint(..) => {}
                // The list is on the tape, and nobody changes what is recorded.
                FeedEvent::Listed(_) | FeedEvent::Paused(_) | FeedEvent::Removed(_) => {}
            }
        }
    }
}

/// Follows one exchange through the decoder that writes.
async fn follow(
    mut config: FeedConfig,
    tape: TapeSender,
    clock: fn() -> Timestamp,
    events: mpsc::Sender<(Venue, Vec<FeedEvent>)>,
    stop: Shutdown,
) -> Result<(), ServiceError> {
    let venue = Venue::parse(config.adapter.profile().venue).expect("the name of an exchange is one of a venue");
    let symbols = config.symbols.clone();
    // Feeds and their tasks share the adapter for as long as the process runs, and a recorder has one for each exchange.
    let adapter: &'static dyn Adapter =
        Box::leak(Box::new(Taped { inner: config.adapter, venue: venue.clone(), symbols, tape, clock }));
    config.adapter = adapter;
    let (sender, mut batches) = mpsc::channel(MAX_WAITING_BATCHES);
    // Nobody changes what is recorded.
    let (_changes, changes) = mpsc::channel(1);
    let feed = tokio::spawn(feed::run(config, Checkpoints::new(), changes, sender, stop));
    while let Some(batch) = batches.recv().await {
        // The receiver is gone only where the recording has ended.
        let _ = events.send((venue.clone(), batch)).await;
    }
    feed.await.unwrap_or_else(|error| Err(ServiceError::permanent("record an exchange", error)))
}

/// The decoder of a venue, behind which everything is written that it is given.
struct Taped {
    inner: &'static dyn Adapter,
    venue: Venue,
    symbols: Vec<Symbol>,
    tape: TapeSender,
    clock: fn() -> Timestamp,
}

impl Adapter for Taped {
    fn profile(&self) -> &'static Profile {
        self.inner.profile()
    }

    fn socket_url(&self, base: &Url) -> Url {
        self.inner.socket_url(base)
    }

    fn decode<'frame>(&self, frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
        self.tape.shared.received.fetch_add(1, Ordering::Relaxed);
        self.put(Content::Received(frame.to_owned().into()));
        self.inner.decode(frame, trades)
    }

    fn subscription(&self, action: Action, products: &[&str], request: u64) -> Vec<Request> {
        let requests = self.inner.subscription(action, products, request);
        for request in &requests {
            self.put(Content::Sent(request.text.clone().into()));
        }
        requests
    }

    fn products_query(&self) -> &'static str {
        self.inner.products_query()
    }

    fn parse_products(&self, body: &str) -> Result<Vec<Product>, DecodeError> {
        let products = self.inner.parse_products(body)?;
        let followed = products.iter().filter(|product| self.symbols.contains(&product.symbol));
        let symbols: ProductSymbols = followed.map(|product| (product.name.clone(), product.symbol.clone())).collect();
        self.put(Content::Products(symbols));
        Ok(products)
    }

    fn trades_query(&self, _product: &Product, _window: &Window) -> Option<String> {
        None
    }

    fn parse_trades<'body>(&self, product: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
        self.inner.parse_trades(product, body)
    }
}

impl Taped {
    fn put(&self, content: Content<'static>) {
        self.tape.put((self.clock)(), &self.venue, content);
    }
}

/// What waits for the disk.
enum Entry {
    Line(Timestamp, Venue, Content<'static>),
    End,
}

#[derive(Default)]
struct Shared {
    /// Whether nothing more will be written. The decoders that hold the channel live as long as the process.
    is_over: CancellationToken,
    received: AtomicU64,
    /// All messages that were lost.
    lost: AtomicU64,
    /// Those of them that the tape does not say yet.
    unwritten_losses: AtomicU64,
    waiting_bytes: AtomicUsize,
    lines: AtomicU64,
    bytes: AtomicU64,
    files: AtomicU64,
    deleted: AtomicU64,
}

impl Shared {
    fn read(&self, status: &mut RecordingStatus) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (status.received, status.lost) = (load(&self.received), load(&self.lost));
        status.totals = TapeTotals {
            lines: load(&self.lines),
            bytes: load(&self.bytes),
            files: load(&self.files),
            deleted: load(&self.deleted),
        };
    }

    fn store(&self, totals: TapeTotals) {
        let TapeTotals { lines, bytes, files, deleted } = totals;
        for (counter, value) in
            [(&self.lines, lines), (&self.bytes, bytes), (&self.files, files), (&self.deleted, deleted)]
        {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

/// The way from the decoders to the writer. A decoder does not wait for the disk: a venue that is not read for long cuts the
/// connection, which loses more than a message.
#[derive(Clone)]
struct TapeSender {
    sender: SyncSender<Entry>,
    shared: Arc<Shared>,
}

impl TapeSender {
    fn put(&self, at: Timestamp, venue: &Venue, content: Content<'static>) {
        let losses = self.shared.unwritten_losses.swap(0, Ordering::Relaxed);
        if losses > 0 && !self.try_put(at, venue, Content::Lost(losses)) {
            self.shared.unwritten_losses.fetch_add(losses, Ordering::Relaxed);
        }
        let is_received = matches!(content, Content::Received(_));
        if !self.try_put(at, venue, content) && is_received {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            self.shared.unwritten_losses.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn try_put(&self, at: Timestamp, venue: &Venue, content: Content<'static>) -> bool {
        let bytes = waiting_bytes(&content);
        let waiting = &self.shared.waiting_bytes;
        let is_put = waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_WAITING_BYTES
            && self.sender.try_send(Entry::Line(at, venue.clone(), content)).is_ok();
        if !is_put {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_put
    }
}

fn waiting_bytes(content: &Content<'_>) -> usize {
    match content {
        Content::Received(text) | Content::Sent(text) => text.len(),
        Content::Products(_) | Content::Lost(_) => 0,
    }
}

/// Writes what arrives until the end is announced.
fn write(mut writer: TapeWriter, entries: &Receiver<Entry>, shared: &Shared) -> Result<TapeTotals, TapeWriteError> {
    let mut flushed_at = Instant::now();
    loop {
        match entries.recv_timeout(FLUSH_INTERVAL) {
            Ok(Entry::Line(at, venue, content)) => {
                shared.waiting_bytes.fetch_sub(waiting_bytes(&content), Ordering::Relaxed);
                writer.write(at, &venue, &content)?;
            }
            Err(RecvTimeoutError::Timeout) if !shared.is_over.is_cancelled() => {}
            Ok(Entry::End) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return writer.finish();
            }
        }
        if flushed_at.elapsed() >= FLUSH_INTERVAL {
            flushed_at = Instant::now();
            writer.flush()?;
            shared.store(writer.totals());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_is_too_slow_for_is_counted_and_said_on_the_tape() {
        let (sender, entries) = sync_channel(3);
        let tape = TapeSender { sender, shared: Arc::default() };
        let venue = Venue::parse("okx").expect("a venue");
        let put = |text: &str| tape.put(Timestamp::EPOCH, &venue, Content::Received(text.to_owned().into()));
        let take = || match entries.try_recv() {
            Ok(Entry::Line(_, _, content)) => {
                tape.shared.waiting_bytes.fetch_sub(waiting_bytes(&content), Ordering::Relaxed);
                Some(content)
            }
            _ => None,
        };
        for text in ["1", "2", "3", "4", "5"] {
            put(text);
        }
        assert_eq!([take(), take()], [Some(Content::Received("1".into())), Some(Content::Received("2".into()))]);
        put("6");
        let rest: Vec<_> = std::iter::from_fn(take).collect();
        assert_eq!(rest, [Content::Received("3".into()), Content::Lost(2), Content::Received("6".into())]);
        assert_eq!(tape.shared.waiting_bytes.load(Ordering::Relaxed), 0);
        put(&"x".repeat(MAX_WAITING_BYTES + 1));
        assert_eq!((tape.shared.lost.load(Ordering::Relaxed), take()), (3, None));
    }
}
