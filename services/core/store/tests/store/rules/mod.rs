//! Tests of rules, for their owners and for the engine.

mod engine_state;
mod judged;
mod late;
mod lifecycle;
