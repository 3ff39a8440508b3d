//! Tests of orders, deposits, batches of the settler and the ledger.

mod balances;
mod orders;
pub(crate) mod settlement;
mod snapshot;
