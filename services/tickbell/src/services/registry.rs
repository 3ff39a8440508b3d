//! The list of all services.

use super::{
    alert_engine, coinnews, descriptor::Service, gateway, history_writer, notifier, price_ingestor, trade_settler,
};

/// All services in the order in which data flows through them.
///
/// `tickbell status` reads their lag in this order, so that a message cannot move from a service that is not read yet
/// into one that has been read, and be counted nowhere.
pub(crate) const SERVICES: &[&Service] = &[
    &gateway::SERVICE,
    &price_ingestor::SERVICE,
    &history_writer::SERVICE,
    &alert_engine::SERVICE,
    &trade_settler::SERVICE,
    &notifier::SERVICE,
    &coinnews::SERVICE,
];
