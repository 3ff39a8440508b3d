//! The only module that reads a clock. No decision depends on it: windows, candles and cooldowns run on the event's own
//! time.

use events::Timestamp;

/// Returns this machine's time, for `received_at`, retries and tokens.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this function is the one door to the clock")]
    chrono::Utc::now().into()
}
