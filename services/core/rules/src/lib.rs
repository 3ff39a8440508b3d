//! Alert rules: decides which rules a tick fires. No clock, no I/O.
//!
//! [`Engine`] takes ticks and changes of rules one at a time and returns the firings. `index` makes a tick touch only the
//! rules that it fires, `market` remembers the prices that windows look back to, and `state` holds what is saved of both.

mod engine;
mod index;
mod market;
mod state;

pub use engine::{Engine, RuleFiring};
pub use state::{Changes, EngineState, ExpiredSamples, Firing, MarketState, Reference, RuleState, Sample, Suppression};
