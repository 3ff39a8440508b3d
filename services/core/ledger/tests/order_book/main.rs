//! The order book and the ledger from outside: single decisions, the audit, and long random runs beside a simple model.

mod audit;
mod decisions;
mod harness;
mod memory_store;
mod model;
mod model_check;
mod repeats;
mod rounding;
