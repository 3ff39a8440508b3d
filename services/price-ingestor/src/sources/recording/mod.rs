//! The source `file:PATH`: a recording, published from its beginning to its end.
//!
//! The id of a tick is derived from what the tick is ([`market_data::tick_ids`]), so that publishing the file again, or another
//! part of it, makes the same ids. One thread reads and decodes while the batches before it are published.

mod decode;
mod settings;

use std::time::Duration;

use events::Tick;
use market_data::{ReplayClock, ReplaySpeed};
use platform::{ServiceError, Shutdown, clock};
use tokio::time::Instant;

use crate::{progress::Progress, publisher::Publisher, sources::Speed};
pub(crate) use decode::Job;
use decode::{Batch, DecoderThread};
pub use settings::Settings;

/// Publishes the file; returns when all of it is acknowledged, or after shutdown.
pub(crate) async fn run(
    publisher: &mut Publisher,
    job: Job,
    speed: Speed,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    match speed {
        Speed::Max => publish_unpaced(publisher, job, shutdown).await,
        Speed::Paced(speed) => publish_paced(publisher, job, speed, shutdown).await,
    }
}

async fn publish_unpaced(publisher: &mut Publisher, job: Job, shutdown: &Shutdown) -> Result<(), ServiceError> {
    let mut progress = Progress::new(job.path.as_deref(), job.name());
    let mut decoder = DecoderThread::start(job);
    while let Some(mut batch) = decoder.next_batch(shutdown).await {
        publisher.publish(batch.ticks.drain(..)).await?;
        count(publisher, &batch);
        progress.update(batch.bytes_read, publisher.summary());
    }
    decoder.finish(shutdown).await
}

async fn publish_paced(
    publisher: &mut Publisher,
    job: Job,
    speed: ReplaySpeed,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut progress = Progress::new(job.path.as_deref(), job.name());
    let mut decoder = DecoderThread::start(job);
    let started = Instant::now();
    let mut clock = None;
    while let Some(batch) = decoder.next_batch(shutdown).await {
        let mut pending = batch.ticks.as_slice();
        while let Some((next, _)) = pending.first() {
            let clock = *clock.get_or_insert(ReplayClock { speed, start: next.at });
            tokio::select! {
                () = tokio::time::sleep(clock.delay_until(next.at).saturating_sub(started.elapsed())) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            let (due, later) = pending.split_at(count_due(clock, pending, started.elapsed()));
            publisher.publish(received_now(due)).await?;
            progress.update_partial(batch.bytes_read, later.len(), batch.ticks.len(), publisher.summary());
            pending = later;
        }
        count(publisher, &batch);
        progress.update(batch.bytes_read, publisher.summary());
    }
    decoder.finish(shutdown).await
}

fn count(publisher: &mut Publisher, batch: &Batch) {
    publisher.count_refused(batch.refused);
    publisher.count_rounded(batch.rounded);
    if let Some((oldest, newest)) = batch.times {
        publisher.extend_times(oldest, newest);
    }
}

/// Returns due ticks as received now: a replayed tick counts as received when it is due, not when it was read ahead.
fn received_now(due: &[(Tick, String)]) -> impl Iterator<Item = (Tick, String)> {
    let received_at = clock::now();
    due.iter().map(move |(tick, id)| (Tick { received_at, ..tick.clone() }, id.clone()))
}

/// Returns how many of the ticks are due; at least one, because the caller has waited for the first.
fn count_due(clock: ReplayClock, ticks: &[(Tick, String)], elapsed: Duration) -> usize {
    ticks.iter().skip(1).take_while(|(tick, _)| clock.delay_until(tick.at) <= elapsed).count() + 1
}

#[cfg(test)]
mod tests {
    use events::{
        Symbol, Timestamp, Venue,
        tick::{TickKind, TickSource},
    };

    use super::*;

    fn tick(millis: i64) -> (Tick, String) {
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
        (tick, "2".to_owned())
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
