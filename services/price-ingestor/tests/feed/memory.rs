//! What schedules allocate, and what they leave.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What the schedules of all threads have allocated, in bytes.
#[derive(Default)]
pub(crate) struct Memory {
    left: AtomicI64,
    peak: AtomicU64,
}

impl Memory {
    /// What all schedules together may leave: what a process and its threads allocate once, and nothing for each schedule.
    const MAX_LEFT: i64 = 256 << 10;
    /// What a schedule may need at a time. Its messages have up to a million bytes, and the server sends several of them.
    const MAX_PEAK: u64 = 32 << 20;

    /// Runs a schedule on this thread, with everything that belongs to it, and counts what it allocates.
    pub(crate) fn count<T>(&self, run: impl FnOnce() -> T) -> T {
        let mut result = None;
        let allocated = allocation_counter::measure(|| result = Some(run()));
        self.left.fetch_add(allocated.bytes_current, Ordering::Relaxed);
        self.peak.fetch_max(allocated.bytes_max, Ordering::Relaxed);
        result.expect("it has run")
    }

    /// Asserts that the schedules have left nothing, and that none needed much.
    #[expect(clippy::print_stdout, reason = "figures for whoever runs many schedules")]
    pub(crate) fn judge(self) {
        let (left, peak) = (self.left.into_inner(), self.peak.into_inner());
        println!("the schedules have left {left} bytes allocated, and one has needed {peak} at a time");
        assert!(left <= Self::MAX_LEFT, "the schedules have left {left} bytes allocated");
        assert!(peak <= Self::MAX_PEAK, "a schedule has needed {peak} bytes");
    }
}
