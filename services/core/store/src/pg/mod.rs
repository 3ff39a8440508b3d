//! The connection to PostgreSQL: transactions, notices, connections that are kept, and how columns are read.

pub(crate) mod hot_connections;
pub(crate) mod notify;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod transaction;
