//! The one way out of this service: every source hands its ticks to the publisher, which sends them as pages and counts what
//! was acknowledged.
//!
//! One publish is on its way at a time. What has come meanwhile goes out next, in as few pages as the order of each symbol
//! allows: a quiet market gives pages of one tick, a file gives full ones, and nothing waits for a page to fill.

use events::{Tick, Timestamp, Venue};
use market_data::PageCollector;
use metrics::{Counter, Gauge};
use platform::{
    Broker, ServiceError, broker::publish::with_trace_context, clock, telemetry::trace_context::new_traceparent,
};

use crate::{dead_letters::DeadLetters, sources::exchange::feed::BadMessage};

/// The most bytes of a message that the log repeats; its dead letter has more.
const MAX_LOGGED_BYTES: usize = 200;

/// The totals of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// The number of ticks that the broker has acknowledged.
    pub published: u64,
    /// The number of lines of the file that were refused: they are no tick, or one from the future.
    pub refused: u64,
    /// The number of ticks that have fewer digits than the source wrote.
    pub rounded: u64,
    /// The times of the oldest and the newest tick of the file.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl Summary {
    /// Returns the totals of two runs together.
    pub(crate) fn merge(self, other: Self) -> Self {
        let times = match (self.times, other.times) {
            (Some((oldest, newest)), Some((from, to))) => Some((oldest.min(from), newest.max(to))),
            (times, other) => times.or(other),
        };
        Self {
            published: self.published + other.published,
            refused: self.refused + other.refused,
            rounded: self.rounded + other.rounded,
            times,
        }
    }
}

/// Publishes the ticks of one venue.
pub(crate) struct Publisher {
    broker: Broker,
    venue: Venue,
    dead_letters: DeadLetters,
    summary: Summary,
    published: Counter,
    last_published_at: Gauge,
    bad_lines: Counter,
    rounded: Counter,
}

impl Publisher {
    /// Returns a publisher whose totals are zero.
    pub(crate) fn new(broker: Broker, venue: Venue) -> Self {
        let published = metrics::counter!("tickbell_ticks_published_total", "venue" => venue.to_string());
        let last_published_at = metrics::gauge!("tickbell_last_tick_timestamp_seconds", "venue" => venue.to_string());
        let bad_lines = metrics::counter!("tickbell_ingest_bad_lines_total");
        let rounded = metrics::counter!("tickbell_ticks_rounded_total", "venue" => venue.to_string());
        let dead_letters = DeadLetters::new(broker.clone());
        let summary = Summary::default();
        Self { broker, venue, dead_letters, summary, published, last_published_at, bad_lines, rounded }
    }

    /// Publishes ticks, each with its id, in order; returns when all are acknowledged, however long the broker is away.
    pub(crate) async fn publish(
        &mut self,
        ticks: impl IntoIterator<Item = (Tick, String)>,
    ) -> Result<(), ServiceError> {
        let mut collector = PageCollector::default();
        collector.extend(ticks);
        let ticks = collector.ticks();
        // Each page begins a new trace.
        let pages = collector.into_messages().into_iter();
        let pages: Vec<_> = pages.map(|page| with_trace_context(page, Some(new_traceparent()))).collect();
        self.broker.publish_ordered_by_subject(&pages).await?;
        self.published.increment(ticks);
        if ticks > 0 {
            // The time of this machine, not of the ticks: a source that replays a recorded day is not stale.
            self.last_published_at.set((clock::now().micros() / 1_000_000) as f64); // float: a gauge is one
        }
        self.summary.published += ticks;
        Ok(())
    }

    /// Counts lines that were refused.
    pub(crate) fn count_refused(&mut self, lines: u64) {
        self.bad_lines.increment(lines);
        self.summary.refused += lines;
    }

    /// Counts messages of a venue that could not be read. The one that is given in short becomes a dead letter, unless there are
    /// too many of them.
    pub(crate) fn refuse_message(&mut self, venue: &Venue, bad: Option<&BadMessage>) {
        self.count_refused(1);
        if let Some(bad) = bad {
            let BadMessage { digest, excerpt, bytes, reason } = bad;
            let excerpt = String::from_utf8_lossy(&excerpt[..excerpt.len().min(MAX_LOGGED_BYTES)]);
            tracing::warn!(%venue, digest, bytes, reason, %excerpt, "skipped a message that cannot be read");
            self.dead_letters.add(venue, bad);
        }
    }

    /// Waits a moment until what was not read is stored as dead letters.
    pub(crate) async fn finish(&mut self) {
        self.dead_letters.finish().await;
    }

    /// Counts ticks that have fewer digits than the source wrote.
    pub(crate) fn count_rounded(&mut self, ticks: u64) {
        self.rounded.increment(ticks);
        self.summary.rounded += ticks;
    }

    /// Extends the span of the ticks' times.
    pub(crate) fn extend_times(&mut self, oldest: Timestamp, newest: Timestamp) {
        let (from, to) = self.summary.times.unwrap_or((oldest, newest));
        self.summary.times = Some((from.min(oldest), to.max(newest)));
    }

    /// Returns the venue that the ticks are published under.
    pub(crate) fn venue(&self) -> &Venue {
        &self.venue
    }

    /// Returns the totals so far.
    pub(crate) fn summary(&self) -> Summary {
        self.summary
    }
}
