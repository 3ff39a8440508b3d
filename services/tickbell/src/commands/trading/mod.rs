//! Commands about orders, accounts and the ledger.

pub(crate) mod accounts;
mod api_client;
pub(crate) mod ledger;
pub(crate) mod orders;
