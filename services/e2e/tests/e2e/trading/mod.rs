//! Orders, the ledger, and the proof that no money is lost.

mod ledger_constraints;
mod ledger_stress;
mod orders;
mod tampering;
