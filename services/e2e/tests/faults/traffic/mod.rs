//! What goes in while faults are injected: ticks, alerts and orders.

pub(crate) mod canaries;
pub(crate) mod clients;
pub(crate) mod feed;
pub(crate) mod late;
pub(crate) mod publisher;
