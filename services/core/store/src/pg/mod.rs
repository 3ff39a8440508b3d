//! The access to PostgreSQL: transactions, notifications, hot connections, the schema, and the conversion of columns.

pub(crate) mod eager;
pub(crate) mod hosts;
pub(crate) mod hot_connections;
pub(crate) mod listener;
pub(crate) mod notify;
pub(crate) mod pool;
pub(crate) mod progress;
pub(crate) mod row;
pub(crate) mod schema;
pub(crate) mod session;
pub(crate) mod transaction;
