//! HTTP: the server with a bounded number of connections and a drain, the admin endpoints, and readiness.

pub mod admin;
pub mod client;
pub mod health;
pub mod server;
