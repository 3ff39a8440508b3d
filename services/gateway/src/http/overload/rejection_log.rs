//! The log line about requests that were answered with 503: one a second at most, however many there are. Under overload, and
//! when the database is away, there are thousands a second.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use events::Timestamp;
use tracing::warn;

/// The interval between two lines.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of routes that a line names, those with the most requests.
const NAMED_ROUTES: usize = 10;

/// A request that was answered with 503.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rejection<'a> {
    /// The title of the problem that was answered.
    pub(crate) title: &'static str,
    pub(crate) method: &'static str,
    pub(crate) route: &'a str,
    pub(crate) trace_id: &'a str,
    /// The cause, which is not answered.
    pub(crate) error: Option<&'a str>,
}

/// Collects rejections and logs them. Clones share what they collect.
#[derive(Debug, Clone, Default)]
pub(crate) struct RejectionLog(Arc<Mutex<Option<Summary>>>);

impl RejectionLog {
    /// Adds a rejection to the next line, which is written a second after the first one that it is about.
    pub(crate) fn add(&self, rejection: &Rejection<'_>) {
        let mut next = self.next();
        if let Some(summary) = next.as_mut() {
            summary.add(rejection);
            return;
        }
        let mut summary = Summary::new(platform::clock::now());
        summary.add(rejection);
        *next = Some(summary);
        let log = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(INTERVAL).await;
            let summary = log.next().take();
            if let Some(summary) = summary {
                summary.log();
            }
        });
    }

    fn next(&self) -> MutexGuard<'_, Option<Summary>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rejections that one line is about.
#[derive(Debug)]
struct Summary {
    since: Timestamp,
    requests: u64,
    /// The number of requests by the title of the problem and the method, then by route.
    by_route: BTreeMap<(&'static str, &'static str), BTreeMap<String, u64>>,
    /// The trace id and the cause of one of them, with a cause if any has one.
    example: (String, Option<String>),
}

impl Summary {
    fn new(since: Timestamp) -> Self {
        Self { since, requests: 0, by_route: BTreeMap::new(), example: (String::new(), None) }
    }

    fn add(&mut self, Rejection { title, method, route, trace_id, error }: &Rejection<'_>) {
        if self.requests == 0 || self.example.1.is_none() && error.is_some() {
            self.example = ((*trace_id).to_owned(), error.map(str::to_owned));
        }
        self.requests += 1;
        let routes = self.by_route.entry((title, method)).or_default();
        // Not the entry, which would copy the route of each request.
        match routes.get_mut(*route) {
            Some(count) => *count += 1,
            None => {
                routes.insert((*route).to_owned(), 1);
            }
        }
    }

    fn log(&self) {
        let Self { since, requests, example: (trace_id, error), .. } = self;
        let routes = self.routes();
        warn!(requests, routes, %since, trace_id, error, "requests answered with 503");
    }

    /// Returns the routes with their numbers of requests, those with the most first.
    fn routes(&self) -> String {
        let counted = self.by_route.iter().flat_map(|((title, method), routes)| {
            routes.iter().map(move |(route, count)| (*count, *title, *method, route.as_str()))
        });
        let mut counted: Vec<_> = counted.collect();
        counted.sort_by(|a, b| b.cmp(a));
        let mut text = String::new();
        for (count, title, method, route) in counted.iter().take(NAMED_ROUTES) {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(text, "{separator}{count} {method} {route} ({title})");
        }
        let others = counted.len().saturating_sub(NAMED_ROUTES);
        if others > 0 {
            let _ = write!(text, ", and {others} other routes");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id, Record},
    };

    use super::*;

    fn rejection(route: &str) -> Rejection<'_> {
        Rejection { title: "Server overloaded", method: "GET", route, trace_id: "abc", error: None }
    }

    #[test]
    fn a_line_names_the_routes_with_the_most_requests() {
        let mut summary = Summary::new(platform::clock::now());
        for number in 0..12 {
            let route = format!("/v1/{number:02}");
            (0..=number).for_each(|_| summary.add(&rejection(&route)));
        }
        summary.add(&Rejection { trace_id: "def", error: Some("no answer"), title: "Timeout", ..rejection("/v1/11") });
        assert_eq!(summary.requests, 79);
        let routes = summary.routes();
        let first = "12 GET /v1/11 (Server overloaded), 11 GET /v1/10 (Server overloaded), 10 GET";
        assert!(routes.starts_with(first) && routes.ends_with("3 GET /v1/02 (Server overloaded), and 3 other routes"));
        assert_eq!(summary.example, ("def".into(), Some("no answer".into())), "a cause is worth more than none");
    }

    /// Collects the fields of each event.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            struct Text(String);
            impl Visit for Text {
                fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                    let _ = write!(self.0, "{field}={value:?} ");
                }
            }
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().expect("the lines").push(text.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_rejections_in_a_second_are_one_line() {
        let lines = Lines::default();
        let _guard = tracing::subscriber::set_default(lines.clone());
        let log = RejectionLog::default();
        for second in 1..=3 {
            (0..1_000).for_each(|_| log.add(&rejection("/v1/prices")));
            tokio::time::sleep(INTERVAL + Duration::from_millis(1)).await;
            let lines = lines.0.lock().expect("the lines").clone();
            assert_eq!(lines.len(), second, "{lines:?}");
            assert!(lines[second - 1].contains("requests=1000"), "{lines:?}");
        }
        tokio::time::sleep(INTERVAL * 5).await;
        assert_eq!(lines.0.lock().expect("the lines").len(), 3, "no line without a rejection");
    }
}
