//! What services of one process tell each other through shared memory. All of it is in the database too: a signal only
//! saves a query, so that nothing is lost where the other service runs in another process.

use crate::{outbox::LocalRelay, trading::order_waiters::OrderWaiters};

/// The signals between the services of one process. `tickbell up` gives all its services the same; a service that runs
/// alone has signals of its own, and the database notifies it.
#[derive(Debug, Clone, Default)]
pub struct LocalSignals {
    /// Hands committed events to the relay that publishes them.
    pub relay: LocalRelay,
    /// Those who wait for decisions of the settler.
    pub order_waiters: OrderWaiters,
}
