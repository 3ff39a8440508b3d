//! How far a file is: a bar on a terminal, a line every few seconds elsewhere.

use std::{io::IsTerminal, path::Path, time::Duration};

use humantime::format_duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;
use tracing::info;

use crate::Summary;

/// How often a line is logged where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how much of a file is published.
pub(crate) struct Progress {
    file: String,
    bar: Option<ProgressBar>,
    size_bytes: u64,
    read_bytes: u64,
    began: Instant,
    shown: Instant,
}

impl Progress {
    /// Nothing of the file at `path` is published yet. A size that is not known is told by the reader, which fails.
    pub(crate) fn new(path: &Path) -> Self {
        let size_bytes = std::fs::metadata(path).map_or(0, |about| about.len());
        let bar = std::io::stderr().is_terminal().then(|| bar(size_bytes));
        let now = Instant::now();
        Self { file: path.display().to_string(), bar, size_bytes, read_bytes: 0, began: now, shown: now }
    }

    /// So many bytes of the file, as it is on disk, are published.
    pub(crate) fn show(&mut self, read_bytes: u64, summary: Summary) {
        self.read_bytes = read_bytes;
        self.draw(read_bytes, summary);
    }

    /// The same with `waiting` of the `all` ticks since the last [`Progress::show`] not published yet.
    pub(crate) fn show_part(&mut self, read_bytes: u64, waiting: usize, all: usize, summary: Summary) {
        let unread = read_bytes.saturating_sub(self.read_bytes) * waiting as u64 / all.max(1) as u64;
        self.draw(read_bytes - unread, summary);
    }

    fn draw(&mut self, read_bytes: u64, Summary { published, bad_lines }: Summary) {
        let elapsed = self.began.elapsed();
        let (per_second, left) = (rate(published, elapsed), time_left(read_bytes, self.size_bytes, elapsed));
        let left = left.map_or("unknown".to_owned(), |left| format_duration(left).to_string());
        if let Some(bar) = &self.bar {
            bar.set_position(read_bytes);
            bar.set_message(format!("{published} ticks, {per_second}/s, {left} left"));
        } else if self.shown.elapsed() >= LINE_EVERY {
            self.shown = Instant::now();
            let percent = read_bytes.saturating_mul(100).checked_div(self.size_bytes).unwrap_or(0);
            info!(file = self.file, percent, published, bad_lines, per_second, left, "publishing");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // What is logged next must not land on the bar's line, and it says all that the bar said.
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(size_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent}% {msg}").expect("the template above is valid");
    ProgressBar::with_draw_target(Some(size_bytes), ProgressDrawTarget::stderr()).with_style(style)
}

/// Per second, over all the time so far.
fn rate(count: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(count) * 1_000 / elapsed.as_millis().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// In whole seconds, when the rest goes as fast as what is done; unknown before anything is.
fn time_left(done: u64, all: u64, elapsed: Duration) -> Option<Duration> {
    let left = u128::from(all.saturating_sub(done));
    let seconds = elapsed.as_millis().checked_mul(left)?.checked_div(u128::from(done))?.div_ceil(1_000);
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_is_done() {
        let elapsed = Duration::from_secs(10);
        assert_eq!(time_left(25, 100, elapsed), Some(Duration::from_secs(30)));
        assert_eq!(time_left(100, 100, elapsed), Some(Duration::ZERO));
        assert_eq!(time_left(120, 100, elapsed), Some(Duration::ZERO));
        assert_eq!(time_left(0, 100, elapsed), None);
        assert_eq!(rate(1_000, Duration::from_millis(500)), 2_000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }
}
