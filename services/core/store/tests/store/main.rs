//! Runs every public function of the store on a real PostgreSQL, each test on a database of its own, and the consumer
//! runner on a real broker as well.

mod consumer_runner;
mod consumers;
mod database;
mod feeds;
mod identity;
mod market;
mod nats;
mod notifications;
mod outbox;
mod pg;
mod postgres;
mod republish;
mod rules;
mod samples;
mod trading;
