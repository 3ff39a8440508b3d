//! Runs every public function of the store on a real PostgreSQL, each test on a database of its own.

mod api_keys;
mod balances;
mod completeness;
mod connections;
mod consumers;
mod database;
mod deliveries;
mod engine_state;
mod gdpr;
mod market;
mod orders;
mod outbox;
mod passwords;
mod postgres;
mod rights;
mod rules;
mod samples;
mod schema;
mod sessions;
mod settlement;
mod sign_ups;
mod snapshot;
