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
pub(crate) struct PgNotifier(Arc<Mutex<PendingChannels>>);

#[derive(Debug, Default)]
struct PendingChannels {
    channels: Channels,
    ringing: bool,
}

impl PgNotifier {
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
    pub(crate) fn notify(&self, channel: impl Into<Cow<'static, str>>) {
        if self.notifier.add(channel.into()) {
            let store = self.clone();
            tokio::spawn(async move {
                while let Some(channels) = store.notifier.next() {
                    let notices =
                        sqlx::raw_sql(sqlx::AssertSqlSafe(statements(&channels, store.instance))).execute(store.pool());
                    if let Err(error) = notices.await {
                        warn!(?channels, error = platform::runtime::error::error_chain(&error), "a notice was lost");
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
        let notifier = PgNotifier::default();
        assert!(notifier.add("a".into()), "nobody rings");
        assert_eq!(notifier.next(), Some(Channels::from(["a".into()])));
        assert!(!notifier.add("b".into()) && !notifier.add("c".into()) && !notifier.add("b".into()), "somebody rings");
        let told = statements(&notifier.next().expect("two"), Uuid::nil());
        let nobody = "'00000000-0000-0000-0000-000000000000'";
        assert_eq!(told, format!(r#"NOTIFY "b", {nobody};NOTIFY "c", {nobody};"#));
        assert_eq!(notifier.next(), None);
        assert!(notifier.add("d".into()), "nobody rings any more");
    }
}
