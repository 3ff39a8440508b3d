//! Tapes: the messages of exchanges as they were received, written by `tickbell record`, and the source `tape:PATH`, which plays
//! them through the same decoders at any speed.

mod decode;
mod line;
mod reader;
mod record;
mod writer;

use std::path::Path;

use events::{Tick, Timestamp, Venue};
use market_data::ReplayClock;
use platform::{ServiceError, Shutdown, clock};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};

pub use decode::{PlayError, Played, Player, TapeOptions};
pub use line::{Content, ProductSymbols, TapeLine, TapeLineError, write_line};
pub use reader::{TapeError, TapeReader, TapeText};
pub use record::{RecordError, Recorder, RecordingStatus};
pub use writer::{TapeFiles, TapeLimits, TapeTotals, TapeWriteError, TapeWriter};

use crate::{
    publisher::Publisher,
    sources::{Speed, exchange::feed::BadMessage},
};

/// The number of ticks in a batch: enough for full pages where a few symbols take turns.
const BATCH_TICKS: usize = 5_000;
/// The most bad messages and lines of a batch, which may have no ticks.
const BATCH_REFUSED: u64 = 1_000;
/// The most batches that are decoded ahead of the publisher.
const MAX_BATCHES_AHEAD: usize = 2;

/// What some lines of a tape give.
#[derive(Default)]
struct Batch {
    ticks: Vec<PlayedTick>,
    bad: Vec<(Venue, BadMessage)>,
    /// Lines that are none, and trades that are refused.
    refused: u64,
    rounded: u64,
}

struct PlayedTick {
    at: Option<Timestamp>,
    tick: Tick,
    id: String,
}

/// Publishes the tape; returns when all of it is acknowledged, or after shutdown.
pub(crate) async fn run(
    publisher: &mut Publisher,
    options: TapeOptions,
    speed: Speed,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let name = options.path.display().to_string();
    let (sender, mut batches) = mpsc::channel(MAX_BATCHES_AHEAD);
    let player: JoinHandle<Result<(), PlayError>> = tokio::task::spawn_blocking(move || play(options, &sender));
    let started = Instant::now();
    let mut replay = None;
    loop {
        let batch = tokio::select! {
            batch = batches.recv() => batch,
            () = shutdown.cancelled() => return Ok(()),
        };
        let Some(Batch { ticks, bad, refused, rounded }) = batch else { break };
        let mut pending = ticks.as_slice();
        while let Some(next) = pending.first() {
            let due = match speed {
                Speed::Max => pending.len(),
                Speed::Paced(speed) => {
                    if replay.is_none() {
                        replay = next.at.map(|start| ReplayClock { speed, start });
                    }
                    let delay_until = |tick: &PlayedTick| {
                        let at = tick.at.unwrap_or(Timestamp::EPOCH);
                        replay.map_or_else(Default::default, |replay: ReplayClock| replay.delay_until(at))
                    };
                    tokio::select! {
                        () = sleep(delay_until(next).saturating_sub(started.elapsed())) => {}
                        () = shutdown.cancelled() => return Ok(()),
                    }
                    let elapsed = started.elapsed();
                    pending.iter().skip(1).take_while(|tick| delay_until(tick) <= elapsed).count() + 1
                }
            };
            let (due, later) = pending.split_at(due);
            publisher.publish(received_now(due)).await?;
            pending = later;
        }
        for (venue, bad) in &bad {
            publisher.refuse_message(venue, Some(bad));
        }
        publisher.count_refused(refused);
        publisher.count_rounded(rounded);
        let times = || ticks.iter().map(|played| played.tick.at);
        if let Some((oldest, newest)) = times().min().zip(times().max()) {
            publisher.extend_times(oldest, newest);
        }
    }
    let played = player.await.map_err(|error| ServiceError::permanent("play a tape", error))?;
    played.map_err(|error| ServiceError::permanent("play a tape", error))?;
    if publisher.summary().published == 0 {
        let cause = format!("{} of its lines and messages were refused", publisher.summary().refused);
        return Err(ServiceError::permanent(format!("{name} gave no price"), cause));
    }
    Ok(())
}

/// Returns due ticks with their ids. A tick that is played counts as received when it is due.
fn received_now(due: &[PlayedTick]) -> impl Iterator<Item = (Tick, String)> {
    let received_at = clock::now();
    due.iter().map(move |PlayedTick { tick, id, .. }| (Tick { received_at, ..tick.clone() }, id.clone()))
}

/// Decodes the tape to its end, or until nobody receives the batches any more.
fn play(options: TapeOptions, batches: &mpsc::Sender<Batch>) -> Result<(), PlayError> {
    let mut player = Player::open(options)?;
    let mut batch = Batch::default();
    let end = loop {
        match player.play_next() {
            Ok(Some(Played::Ticks { at, ticks, rounded, refused })) => {
                batch.ticks.extend(ticks.into_iter().map(|(tick, id)| PlayedTick { at, tick, id }));
                batch.rounded += rounded;
                batch.refused += refused;
            }
            Ok(Some(Played::Bad(venue, bad))) => batch.bad.push((venue, bad)),
            Ok(Some(Played::NoLine)) => batch.refused += 1,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        let is_full = batch.ticks.len() >= BATCH_TICKS || batch.refused + batch.bad.len() as u64 >= BATCH_REFUSED;
        if is_full && batches.blocking_send(std::mem::take(&mut batch)).is_err() {
            return Ok(());
        }
    };
    // The receiver is gone only after a failed publish or a shutdown, which the publisher reports.
    let _ = batches.blocking_send(batch);
    end
}

/// Returns what a folder holds of a tape, in a sentence for people.
pub fn describe(folder: &Path) -> Result<String, TapeWriteError> {
    let found = TapeFiles::list(folder)?;
    let (Some((first, _)), Some((last, _))) = (found.files.first(), found.files.last()) else {
        return Ok(format!("{} has no tape.", folder.display()));
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (count, mib) = (found.files.len(), found.bytes().div_ceil(1 << 20));
    Ok(format!("{} has {count} files with {mib} MiB, from {} to {}.", folder.display(), name(first), name(last)))
}
