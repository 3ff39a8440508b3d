//! Orders, deposits, balances and the ledger.

pub mod assets;
pub mod balances;
pub mod deposits;
pub mod ledger_snapshot;
pub mod order_waiters;
pub mod orders;
pub mod postings;
pub mod settlement;
pub mod trades;
