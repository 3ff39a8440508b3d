//! Notices that follow a commit.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::warn;
use uuid::Uuid;

use crate::Store;

/// Channels whose listeners are to be told.
pub(crate) type Channels = BTreeSet<Cow<'static, str>>;

/// What is told while a notice is on its way is told by the next one, together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bell(Arc<Mutex<Due>>);

#[derive(Debug, Default)]
struct Due {
    channels: Channels,
    ringing: bool,
}

impl Bell {
    /// Whether somebody has to begin to ring.
    fn add(&self, channel: Cow<'static, str>) -> bool {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        due.channels.insert(channel);
        !mem::replace(&mut due.ringing, true)
    }

    /// What to ring next; with nothing left, ringing has ended.
    fn next(&self) -> Option<Channels> {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        due.ringing = !due.channels.is_empty();
        due.ringing.then(|| mem::take(&mut due.channels))
    }
}

impl Store {
    /// Tells whoever listens on `channel`, without waiting for it. A notice that is lost is made up for: whoever listens
    /// also looks from time to time.
    pub(crate) fn ring(&self, channel: impl Into<Cow<'static, str>>) {
        if self.bell.add(channel.into()) {
            let store = self.clone();
            tokio::spawn(async move {
                while let Some(channels) = store.bell.next() {
                    let notices =
                        sqlx::raw_sql(sqlx::AssertSqlSafe(statements(&channels, store.instance))).execute(store.pool());
                    if let Err(error) = notices.await {
                        warn!(?channels, error = platform::runtime::error::chain(&error), "a notice was lost");
                    }
                }
            });
        }
    }
}

/// The notices, one after the other, which say who gives them. Names of channels are our own.
pub(crate) fn statements(channels: &Channels, from: Uuid) -> String {
    channels.iter().map(|channel| format!("NOTIFY \"{channel}\", '{from}';")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_meanwhile_is_told_together_and_nothing_twice() {
        let bell = Bell::default();
        assert!(bell.add("a".into()), "nobody rings");
        assert_eq!(bell.next(), Some(Channels::from(["a".into()])));
        assert!(!bell.add("b".into()) && !bell.add("c".into()) && !bell.add("b".into()), "somebody rings");
        let told = statements(&bell.next().expect("two"), Uuid::nil());
        let nobody = "'00000000-0000-0000-0000-000000000000'";
        assert_eq!(told, format!(r#"NOTIFY "b", {nobody};NOTIFY "c", {nobody};"#));
        assert_eq!(bell.next(), None);
        assert!(bell.add("d".into()), "nobody rings any more");
    }
}
