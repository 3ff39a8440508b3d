//! How the system starts, fails over, recovers and is operated.

mod crash_recovery;
mod db_privileges;
mod dead_letters;
mod failover;
mod hanging_servers;
mod hostile_messages;
mod lost_messages;
mod procedures;
mod readme;
pub(crate) mod replay;
mod restore;
mod streams;
mod up;
