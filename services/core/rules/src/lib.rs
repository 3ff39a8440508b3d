//! Alert rules: decides which rules a tick fires. No clock, no I/O.
//!
//! [`Engine`] takes ticks and changes of rules one at a time and returns the firings. `index` makes a tick touch only the
//! rules that it fires, `market` remembers the prices that windows look back to, and `state` holds what is saved of both.
//! `gaps` remembers where ticks are missing, and `late` says what rules would have decided there once the ticks are known.

mod engine;
mod firing;
mod gaps;
mod index;
mod late;
mod market;
mod state;

pub use engine::Engine;
pub use firing::RuleFiring;
pub use gaps::{GapStage, MarketGap};
pub use late::{GapReview, LateDecision, LateJudge, PastTick};
pub use state::{Changes, EngineState, ExpiredSamples, Firing, MarketState, Reference, RuleState, Sample, Suppression};
