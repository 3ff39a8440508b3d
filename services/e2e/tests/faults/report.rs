//! The table at the end.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::judge::Judged;

/// The recoveries by the kind of fault.
#[derive(Debug, Default)]
pub(crate) struct Report {
    recoveries: BTreeMap<String, Vec<Duration>>,
    pub(crate) judged: Judged,
    pub(crate) canaries: usize,
    pub(crate) seed: u64,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Adds a recovery from faults of these kinds.
    pub(crate) fn add(&mut self, kinds: Vec<String>, took: Duration) {
        let kind = if kinds.len() == 1 { kinds.concat() } else { "several at once".to_owned() };
        self.recoveries.entry(kind).or_default().push(took);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40} {:>6} {:>8} {:>8}", "recovered from", "times", "median", "slowest")?;
        for (kind, times) in &self.recoveries {
            let mut times = times.clone();
            times.sort_unstable();
            let (median, slowest) = (times[times.len() / 2].as_secs_f32(), times[times.len() - 1].as_secs_f32());
            writeln!(f, "{kind:<40} {:>6} {median:>6.1} s {slowest:>6.1} s", times.len())?;
        }
        let Judged { ticks, source_ticks, firings, late_verdicts, mails, repeated_mails, orders } = self.judged;
        writeln!(
            f,
            "{ticks} ticks and {source_ticks} prices of the source, {firings} firings, {late_verdicts} late verdicts, {orders} orders,"
        )?;
        writeln!(f, "{mails} mails, {repeated_mails} of them sent again after a crash, {} canaries", self.canaries)?;
        write!(f, "seed {}", self.seed)
    }
}
