//! The progress of a recording: a bar on a terminal, a log line every few seconds elsewhere.

use std::{io::IsTerminal, path::Path, time::Duration};

use humantime::format_duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;
use tracing::info;

use crate::publisher::Summary;

/// The time between two log lines where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Shows how much of a recording is published.
pub(crate) struct Progress {
    file: String,
    bar: Option<ProgressBar>,
    size_bytes: u64,
    read_bytes: u64,
    started: Instant,
    last_logged: Instant,
}

impl Progress {
    /// Returns the progress of the file at `path`, which is called `file`, before anything of it is published. One whose size
    /// cannot be read, like a pipe, counts as empty here; the reader reports its error.
    pub(crate) fn new(path: Option<&Path>, file: String) -> Self {
        let size_bytes = path.and_then(|path| std::fs::metadata(path).ok()).map_or(0, |metadata| metadata.len());
        let bar = std::io::stderr().is_terminal().then(|| bar(size_bytes));
        let now = Instant::now();
        Self { file, bar, size_bytes, read_bytes: 0, started: now, last_logged: now }
    }

    /// Shows that all ticks of the first `read_bytes` bytes of the file on disk are published.
    pub(crate) fn update(&mut self, read_bytes: u64, summary: Summary) {
        self.read_bytes = read_bytes;
        self.draw(read_bytes, summary);
    }

    /// Shows the same while `pending` of the `all` ticks since the last [`Progress::update`] are not published yet.
    pub(crate) fn update_partial(&mut self, read_bytes: u64, pending: usize, all: usize, summary: Summary) {
        let unpublished = read_bytes.saturating_sub(self.read_bytes) * pending as u64 / all.max(1) as u64;
        self.draw(read_bytes - unpublished, summary);
    }

    fn draw(&mut self, read_bytes: u64, Summary { published, refused, .. }: Summary) {
        let elapsed = self.started.elapsed();
        let ticks_per_second = rate(published, elapsed);
        let remaining = remaining_time(read_bytes, self.size_bytes, elapsed)
            .map_or("unknown".to_owned(), |remaining| format_duration(remaining).to_string());
        if let Some(bar) = &self.bar {
            bar.set_position(read_bytes);
            bar.set_message(format!("{published} ticks, {ticks_per_second}/s, {remaining} left"));
        } else if self.last_logged.elapsed() >= LOG_INTERVAL {
            self.last_logged = Instant::now();
            let percent = read_bytes.saturating_mul(100).checked_div(self.size_bytes).unwrap_or(0);
            info!(file = self.file, percent, published, refused, ticks_per_second, remaining, "publishing a recording");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The next log line must not land on the line of the bar, and it repeats the totals of the bar.
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(size_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent}% {msg}").expect("the template above is valid");
    ProgressBar::with_draw_target(Some(size_bytes), ProgressDrawTarget::stderr()).with_style(style)
}

/// Returns the mean rate per second.
fn rate(count: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(count) * 1_000 / elapsed.as_millis().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Returns how long the rest takes at the rate so far, rounded up to a second; `None` before anything is done.
fn remaining_time(done: u64, all: u64, elapsed: Duration) -> Option<Duration> {
    let rest = u128::from(all.saturating_sub(done));
    let seconds = elapsed.as_millis().checked_mul(rest)?.checked_div(u128::from(done))?.div_ceil(1_000);
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_extrapolated_from_the_rate_so_far() {
        let elapsed = Duration::from_secs(10);
        assert_eq!(remaining_time(25, 100, elapsed), Some(Duration::from_secs(30)));
        assert_eq!(remaining_time(100, 100, elapsed), Some(Duration::ZERO));
        assert_eq!(remaining_time(120, 100, elapsed), Some(Duration::ZERO));
        assert_eq!(remaining_time(0, 100, elapsed), None);
        assert_eq!(rate(1_000, Duration::from_millis(500)), 2_000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
