//! Waits for a condition with a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const POLL_EVERY: Duration = Duration::from_millis(50);

/// Asks `probe` again and again until it has an answer. The only place where a test sleeps.
///
/// # Panics
/// When there is none within `limit`; `what` then says what was waited for.
pub async fn wait_until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain until {what}");
        sleep(POLL_EVERY).await;
    }
}
