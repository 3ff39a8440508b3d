//! Runs every public function of the store on a real PostgreSQL, each test on a database of its own.

mod completeness;
mod consumers;
mod database;
mod deliveries;
mod identity;
mod market;
mod outbox;
mod pg;
mod postgres;
mod rules;
mod samples;
mod trading;
