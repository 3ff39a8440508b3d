//! What a long command has done so far, on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on the terminal that shows a number; nothing where there is no terminal.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins at 0; `unit` is what is counted.
    pub(super) fn new(unit: &str) -> Self {
        let template = format!("{{spinner}} {{human_pos}} {unit}, {{per_sec}}, {{elapsed}} {{msg}}");
        let style = ProgressStyle::with_template(&template).ok();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            style.map_or_else(|| bar.clone(), |style| bar.clone().with_style(style))
        });
        Self(bar)
    }

    /// Shows how much is done.
    pub(super) fn show(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The last line repeats what the bar has shown.
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
