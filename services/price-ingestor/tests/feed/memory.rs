//! Whether the memory of the process grows.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory of the process, in bytes.
#[derive(Default)]
pub(crate) struct Memory {
    half_way: AtomicUsize,
}

impl Memory {
    /// What the second half of the schedules may need beyond the first: eight of them run at a time, and they are not alike.
    const MAX_GROWTH: usize = 32 << 20;

    /// Remembers what is needed half-way.
    pub(crate) fn note(&self) {
        self.half_way.store(resident_bytes(), Ordering::Relaxed);
    }

    /// Asserts that no more is needed now.
    #[expect(clippy::print_stdout, reason = "a figure for whoever runs many schedules")]
    pub(crate) fn judge(&self) {
        let (half_way, end) = (self.half_way.load(Ordering::Relaxed), resident_bytes());
        println!("resident memory: {} KiB half-way, {} KiB at the end", half_way >> 10, end >> 10);
        assert!(end <= half_way + Self::MAX_GROWTH, "the memory has grown from {half_way} to {end} bytes");
    }
}

/// Returns the resident memory of the process.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says how much memory a process has");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the resident memory");
    let kibibytes = line.trim().trim_end_matches("kB").trim_end();
    kibibytes.parse::<usize>().expect("a number") << 10
}
