//! The harness of the end-to-end tests: a whole system as a user runs it, its API, its mails, and a mail server.
//!
//! Nothing here is a stand-in: [`System`] is the built program with its own nats-server and PostgreSQL in a folder of
//! its own, and [`MailServer`] is aiosmtpd. What is missing fails a test. No test reads the prose of a log: readiness,
//! metrics, the API and `tickbell status --json` say what there is to know.

pub mod api;
mod mail;
pub mod process;
mod proxy;
mod raw_nats;
pub mod system;
pub mod tape;
mod users;
mod wait;

pub use api::{Alert, Api, ApiResponse, Firing};
pub use mail::{
    Mail,
    odd_server::OddMailServer,
    server::{MailServer, Protection},
};
pub use process::Process;
pub use proxy::{Proxy, Silence};
pub use raw_nats::RawNats;
pub use system::{
    System,
    database::{Database, DatabaseLock},
    servers::{Addresses, Servers, Service},
    status::{self, Status},
};
pub use users::PASSWORD;
pub use wait::wait_until;
