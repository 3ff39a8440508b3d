//! HTTP servers: connections with a drain, the admin endpoint, and readiness.

pub mod admin;
pub mod health;
pub mod server;
