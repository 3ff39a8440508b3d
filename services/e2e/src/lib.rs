//! What the journeys travel with: a whole system as a user runs it, its API, its mails, and a mail server.
//!
//! Nothing here is a stand-in: [`System`] is the built program with its own nats-server and PostgreSQL in a folder of
//! its own, and [`MailServer`] is aiosmtpd. What is missing fails a test.

pub mod api;
mod binary;
mod database;
pub mod mail;
pub mod mail_server;
pub mod people;
pub mod process;
mod servers;
pub mod status;
pub mod system;
pub mod tape;
mod until;

pub use api::{Alert, Answer, Api, Firing};
pub use database::{Database, Held};
pub use mail::Mail;

pub use mail_server::MailServer;
pub use process::Process;
pub use servers::{Door, Servers};
pub use status::Status;
pub use system::System;
pub use until::until;
