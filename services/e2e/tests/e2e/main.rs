//! Tests that cross services, on a real broker, a real database and a real mail server.

mod alerts;
mod api;
mod identity;
mod market;
mod operations;
mod trading;
