//! Events that name a row which the database does not have.
//!
//! A row is saved before the event that names it is published, so that a consumer finds it. It does not where the database
//! was restored from a backup that is older than the stream, or where somebody else has published the event. Such an event
//! is passed over or becomes a dead letter: no consumer may end because of it.

/// The kind of a row that an event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A row of table `rules`.
    Rule,
    /// A row of table `orders`.
    Order,
    /// A row of table `deposits`.
    Deposit,
}

impl Row {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Order => "order",
            Self::Deposit => "deposit",
        }
    }
}

/// Counts events of `service` whose row is missing. A service registers the counter by counting none, because a rate does
/// not show the step from no counter to 1.
pub fn count_without_row(service: &'static str, row: Row, events: u64) {
    metrics::counter!("tickbell_events_without_row_total", "service" => service, "row" => row.as_str())
        .increment(events);
}
