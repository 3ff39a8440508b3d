//! The feed of each venue against a server that speaks the venue's protocol, over real sockets, with faults.
//!
//! `SCHEDULES=500 cargo test -p price-ingestor --test feed` runs more schedules; each prints its seed when it fails, and
//! `SEED=7` repeats one. `SEED=500 SCHEDULES=500` runs those of the next seeds.

mod candles;
mod fills;
mod following;
mod market;
mod memory;
mod output;
mod recorder;
mod schedules;
mod server;
mod venues;
mod verdicts;
