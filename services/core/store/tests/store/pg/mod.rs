//! Tests of connections, transactions, the schema and the rights of the services' roles.

mod connections;
mod rights;
mod schema;
