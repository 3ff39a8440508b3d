//! Orders, the ledger, and the proof that no money is lost.

mod ledger_constraints;
mod ledger_stress;
mod order_clients;
mod order_idempotency;
mod orders;
mod tampering;
mod trader;
