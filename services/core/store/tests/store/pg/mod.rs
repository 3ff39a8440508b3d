//! Tests of connections, transactions, the schema and the rights of the services' roles.

mod connections;
mod dead_connections;
mod pgbouncer;
mod proxy;
mod rights;
mod schema;
