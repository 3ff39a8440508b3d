//! Commands for whoever runs the installation: schema, streams, progress, health.

pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod feeds;
pub(crate) mod healthcheck;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
pub(crate) mod migrate;
pub(crate) mod record;
pub(crate) mod smoke;
pub(crate) mod status;
pub(crate) mod streams;
pub(crate) mod ticks;
