//! The ledger and the orders that move it: decides what becomes of each order, exactly. No clock, no I/O.
//!
//! [`order_book`] decides one event at a time; [`trigger_book`] makes a tick touch only the orders that it reaches;
//! [`amounts`] rounds, [`accounts`] posts, and [`hash_chain`] makes a changed row visible. [`audit`] re-computes the ledger
//! from its [`rows`].

pub mod accounts;
pub mod amounts;
pub mod audit;
pub mod hash_chain;
pub mod order_book;
pub mod rows;
pub mod trigger_book;
