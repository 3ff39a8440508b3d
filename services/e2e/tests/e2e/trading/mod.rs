//! Orders, the ledger, and tests that no money is lost or created.

mod ledger_constraints;
mod ledger_stress;
mod order_clients;
mod order_idempotency;
mod orders;
mod overload;
mod prices_of_orders;
mod settlement_stop;
mod tampering;
mod trader;
