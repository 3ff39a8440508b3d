//! The readiness of a process with several sources: it is ready when each of them is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use platform::Check;

/// The state of each source that has reported one: none is good, a text says what fails.
type States = BTreeMap<String, Option<String>>;

/// The readiness of all sources.
#[derive(Clone)]
pub(crate) struct Readiness {
    check: Check,
    states: Arc<Mutex<States>>,
}

/// The readiness of one source.
#[derive(Clone)]
pub(crate) struct SourceReadiness {
    name: String,
    all: Readiness,
}

impl Readiness {
    /// Returns the readiness of a process whose sources have these names. None of them is ready.
    pub(crate) fn new(check: Check, names: &[String]) -> Self {
        let starting = names.iter().map(|name| (name.clone(), Some("it is starting".to_owned()))).collect();
        Self { check, states: Arc::new(Mutex::new(starting)) }
    }

    /// Returns the part of one source.
    pub(crate) fn source(&self, name: String) -> SourceReadiness {
        SourceReadiness { name, all: self.clone() }
    }
}

impl SourceReadiness {
    /// Reports that the source works.
    pub(crate) fn ready(&self) {
        self.report(None);
    }

    /// Reports that the source does not work, and why.
    pub(crate) fn failing(&self, why: impl Into<String>) {
        self.report(Some(why.into()));
    }

    /// Reports what fails; none where nothing does.
    pub(crate) fn report(&self, failure: Option<String>) {
        let failures: Vec<String> = {
            let mut states = self.all.states.lock().unwrap_or_else(PoisonError::into_inner);
            states.insert(self.name.clone(), failure);
            states.iter().filter_map(|(name, why)| Some(format!("{name}: {}", why.as_ref()?))).collect()
        };
        if failures.is_empty() { self.all.check.ready() } else { self.all.check.failing(failures.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use platform::Health;

    use super::*;

    #[test]
    fn a_process_is_ready_when_each_source_is() {
        let health = Health::default();
        let names = ["coinbase".to_owned(), "kraken".to_owned()];
        let readiness = Readiness::new(health.check("sources"), &names);
        let [coinbase, kraken] = names.map(|name| readiness.source(name));
        coinbase.ready();
        assert!(!health.is_ready());
        kraken.ready();
        assert!(health.is_ready());
        coinbase.failing("BTC-USD is refused");
        assert!(!health.is_ready() && format!("{:?}", health.report()).contains("coinbase: BTC-USD is refused"));
    }
}
