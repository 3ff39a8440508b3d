//! The parts that every service needs: settings, telemetry, the broker, HTTP servers, readiness, supervision, the clock.
//!
//! The crate knows nothing of the domain. It is the only crate that names async-nats.

pub mod broker;
pub mod http;
pub mod runtime;
pub mod settings;
pub mod signed_links;
pub mod telemetry;

pub use broker::{
    Broker,
    message::{DecodeError, Message},
    ordered_consumer::{Batch, OrderedConsumer},
    stream_merge::StreamMerge,
    stream_position::StreamPosition,
};
pub use http::health::{Check, Health};
pub use runtime::{clock, error::ServiceError, supervise::supervise};
pub use tokio_util::sync::CancellationToken as Shutdown;
