//! The way out: ticks become messages here and nowhere else, and what is acknowledged is counted.

use events::{OutboundMessage, Tick, Venue};
use metrics::{Counter, Gauge};
use platform::{
    Broker, ServiceError, broker::publish::with_trace_context, clock, telemetry::trace_context::new_traceparent,
};

use crate::Summary;

/// The message of one tick, at the beginning of its trace.
pub(crate) fn message(tick: &Tick, trade_id: &str) -> OutboundMessage {
    with_trace_context(tick.to_message(trade_id), Some(new_traceparent()))
}

/// Publishes for one venue.
pub(crate) struct Publisher {
    broker: Broker,
    venue: Venue,
    summary: Summary,
    published: Counter,
    newest: Gauge,
    bad_lines: Counter,
}

impl Publisher {
    /// A publisher that has published nothing.
    pub(crate) fn new(broker: Broker, venue: Venue) -> Self {
        let published = metrics::counter!("tickbell_ticks_published_total", "venue" => venue.to_string());
        let newest = metrics::gauge!("tickbell_last_tick_timestamp_seconds", "venue" => venue.to_string());
        let bad_lines = metrics::counter!("tickbell_ingest_bad_lines_total");
        Self { broker, venue, summary: Summary::default(), published, newest, bad_lines }
    }

    /// Publishes in order; returns when all is acknowledged, however long the broker is away.
    pub(crate) async fn publish(&mut self, messages: &[OutboundMessage]) -> Result<(), ServiceError> {
        self.broker.publish(messages).await?;
        self.published.increment(messages.len() as u64);
        if !messages.is_empty() {
            // This machine's time, not the ticks': a feed that replays the past is not stale.
            self.newest.set((clock::now().micros() / 1_000_000) as f64); // float: a gauge is one
        }
        self.summary.published += messages.len() as u64;
        Ok(())
    }

    /// Counts lines that are no tick.
    pub(crate) fn count_bad_lines(&mut self, lines: u64) {
        self.bad_lines.increment(lines);
        self.summary.bad_lines += lines;
    }

    /// Whose prices these are.
    pub(crate) fn venue(&self) -> &Venue {
        &self.venue
    }

    /// What was done so far.
    pub(crate) fn summary(&self) -> Summary {
        self.summary
    }
}
