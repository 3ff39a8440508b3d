//! Ports for programs that a test starts, known before they start.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range from which the kernel takes ports for whoever asks for any, so that only this counter gives them away.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// An address of this machine that is free, and that no other test of this process is given.
///
/// # Panics
/// When all ports of the range are taken.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let width = RANGE.end - RANGE.start;
    // Two runs of the tests at once begin at different ports.
    let first = (std::process::id() % u32::from(width)) as u16;
    for _ in RANGE {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % width;
        let port = RANGE.start + ((u32::from(first) + u32::from(step)) % u32::from(width)) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port from {} to {} is free", RANGE.start, RANGE.end)
}
