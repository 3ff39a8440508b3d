//! What every service needs, and no domain word: settings, telemetry, the broker, ordered consumption, health,
//! supervision, the clock. The only crate that names async-nats.

pub mod admin;
pub mod broker;
pub mod clock;
pub mod dlq;
pub mod duration;
pub mod fault;
pub mod feed;
pub mod health;
pub mod links;
pub mod merge;
pub mod server;
pub mod settings;
pub mod stored;
pub mod supervise;
pub mod telemetry;
pub mod topology;
pub mod trace;

pub use broker::Broker;
pub use fault::Fault;
pub use feed::{Batch, Feed, Message};
pub use health::{Check, Health};
pub use merge::Merge;
pub use supervise::supervise;
pub use tokio_util::sync::CancellationToken as Shutdown;
