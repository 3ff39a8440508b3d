//! Readiness as named latches: a process is ready when each of its checks is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// All checks of a process.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, State>>>);

/// How one check stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "snake_case")]
pub enum State {
    /// Not there yet.
    Starting,
    /// Works.
    Ready,
    /// Runs beside the instance that does the work, and takes over when that one is gone.
    Standby,
    /// Does not work, and why.
    Failing(String),
    /// Does not work, and why; what the process is for goes on without it.
    Degraded(String),
}

/// One latch, held by the part of the process that it is about.
#[derive(Debug, Clone)]
pub struct Check {
    name: &'static str,
    weight: Criticality,
    health: Health,
}

/// Whether a process can do without what a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Criticality {
    Needed,
    Spared,
}

impl Health {
    /// A new latch, closed until its holder opens it.
    pub fn check(&self, name: &'static str) -> Check {
        self.add(name, Criticality::Needed)
    }

    /// A new latch that says how it stands and, once it was open, never closes the door: for what all instances share
    /// and each can do without. If it closed the doors of all of them, a small outage would become a whole one.
    pub fn optional_check(&self, name: &'static str) -> Check {
        self.add(name, Criticality::Spared)
    }

    fn add(&self, name: &'static str, weight: Criticality) -> Check {
        self.states().insert(name, State::Starting);
        Check { name, weight, health: self.clone() }
    }

    /// Every check by name.
    pub fn report(&self) -> BTreeMap<&'static str, State> {
        self.states().clone()
    }

    /// Whether all checks are open.
    pub fn is_ready(&self) -> bool {
        self.states().values().all(|state| matches!(state, State::Ready | State::Standby | State::Degraded(_)))
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        // A panic while the map is held leaves it whole: every write is one insert.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// It works.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// Another instance does the work.
    pub fn standby(&self) {
        self.set(State::Standby);
    }

    /// It does not work.
    pub fn failing(&self, why: impl Into<String>) {
        self.set(match self.weight {
            Criticality::Needed => State::Failing(why.into()),
            Criticality::Spared => State::Degraded(why.into()),
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
    fn what_can_be_spared_is_waited_for_once_and_then_only_reported() {
        let health = Health::default();
        let broker = health.optional_check("broker");
        assert!(!health.is_ready(), "it starts with all it has");
        broker.ready();
        broker.failing("not connected");
        assert!(health.is_ready());
        assert_eq!(health.report()["broker"], State::Degraded("not connected".into()));
    }
}
