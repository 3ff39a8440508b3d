//! The only place that reads a clock. What is decided never depends on it: windows, candles and cooldowns run on the
//! event's own time.

use events::Timestamp;

/// This machine's time, for `received_at`, retries and tokens.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    chrono::Utc::now().into()
}
