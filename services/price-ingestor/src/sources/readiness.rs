//! The readiness of a process with several sources: it is ready when each of them is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use platform::Check;

/// The state of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Ready,
    /// Another instance publishes it.
    Standby,
    Failing(String),
}

/// The state of each source.
type States = BTreeMap<String, State>;

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
        let starting = names.iter().map(|name| (name.clone(), State::Failing("it is starting".to_owned()))).collect();
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
        self.set(State::Ready);
    }

    /// Reports that another instance publishes the source.
    pub(crate) fn standby(&self) {
        self.set(State::Standby);
    }

    /// Reports that the source does not work, and why.
    pub(crate) fn failing(&self, why: impl Into<String>) {
        self.set(State::Failing(why.into()));
    }

    /// Reports what fails; none where nothing does.
    pub(crate) fn report(&self, failure: Option<String>) {
        self.set(failure.map_or(State::Ready, State::Failing));
    }

    fn set(&self, state: State) {
        let mut states = self.all.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.insert(self.name.clone(), state);
        let failure = |(name, state): (&String, &State)| match state {
            State::Failing(why) => Some(format!("{name}: {why}")),
            State::Ready | State::Standby => None,
        };
        let failures: Vec<String> = states.iter().filter_map(failure).collect();
        if !failures.is_empty() {
            self.all.check.failing(failures.join("; "));
        } else if states.values().all(|state| *state == State::Standby) {
            self.all.check.standby();
        } else {
            self.all.check.ready();
        }
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
        coinbase.standby();
        assert!(health.is_ready() && format!("{:?}", health.report()).contains("Ready"));
        kraken.standby();
        assert!(health.is_ready() && format!("{:?}", health.report()).contains("Standby"));
    }
}
