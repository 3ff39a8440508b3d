//! Readiness as named checks: a process is ready when each of its checks is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// The checks of a process.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, State>>>);

/// The state of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "snake_case")]
pub enum State {
    /// The part has not started yet.
    Starting,
    /// The part works.
    Ready,
    /// Another instance is the leader; this one takes over when that one is gone.
    Standby,
    /// The part does not work, with the reason.
    Failing(String),
    /// An optional part does not work, with the reason; the process remains ready without it.
    Degraded(String),
}

/// One check, held by the part of the process whose state it reports.
#[derive(Debug, Clone)]
pub struct Check {
    name: &'static str,
    criticality: Criticality,
    health: Health,
}

/// Whether a process can be ready while the part behind a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Criticality {
    /// The process is not ready while the part fails.
    Required,
    /// The process stays ready: it needs the part only to start.
    Optional,
}

impl Health {
    /// Adds a check. The process is not ready until its holder calls [`Check::ready`].
    pub fn check(&self, name: &'static str) -> Check {
        self.add(name, Criticality::Required)
    }

    /// Adds a check that reports its state but makes the process unready only until it was ready once. It is for what all
    /// instances share and each can do without: if a failure made all of them unready, a small outage would become a
    /// full one.
    pub fn optional_check(&self, name: &'static str) -> Check {
        self.add(name, Criticality::Optional)
    }

    fn add(&self, name: &'static str, criticality: Criticality) -> Check {
        self.states().insert(name, State::Starting);
        Check { name, criticality, health: self.clone() }
    }

    /// Returns the state of every check by name.
    pub fn report(&self) -> BTreeMap<&'static str, State> {
        self.states().clone()
    }

    /// Returns whether no check makes the process unready.
    pub fn is_ready(&self) -> bool {
        self.states().values().all(|state| matches!(state, State::Ready | State::Standby | State::Degraded(_)))
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        // A panic while the lock is held leaves the map intact: every write is one insert.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// Reports that the part works.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// Reports that another instance is the leader.
    pub fn standby(&self) {
        self.set(State::Standby);
    }

    /// Reports that the part does not work, and why.
    pub fn failing(&self, why: impl Into<String>) {
        self.set(match self.criticality {
            Criticality::Required => State::Failing(why.into()),
            Criticality::Optional => State::Degraded(why.into()),
        });
    }

    fn set(&self, state: State) {
        self.health.states().insert(self.name, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_check_is() {
        let health = Health::default();
        let (broker, engine) = (health.check("broker"), health.check("alert-engine"));
        assert!(!health.is_ready());
        broker.ready();
        engine.standby();
        assert!(health.is_ready());
        engine.failing("no database");
        assert!(!health.is_ready());
        assert_eq!(health.report()["alert-engine"], State::Failing("no database".into()));
    }

    #[test]
    fn an_optional_check_is_awaited_once_and_then_only_reported() {
        let health = Health::default();
        let broker = health.optional_check("broker");
        assert!(!health.is_ready(), "a process starts with all of its parts");
        broker.ready();
        broker.failing("not connected");
        assert!(health.is_ready());
        assert_eq!(health.report()["broker"], State::Degraded("not connected".into()));
    }
}
