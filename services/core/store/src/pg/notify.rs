//! PostgreSQL notifications that follow a commit.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::warn;

use crate::Store;

/// The channels whose listeners are to be notified.
pub(crate) type Channels = BTreeSet<Cow<'static, str>>;

/// Collects the channels that are notified while a statement is in flight, and sends them together with the next one.
#[derive(Debug, Clone, Default)]
pub(crate) struct PgNotifier(Arc<Mutex<PendingChannels>>);

#[derive(Debug, Default)]
struct PendingChannels {
    channels: Channels,
    sending: bool,
}

impl PgNotifier {
    /// Adds a channel, and returns `true` when the caller must begin to send.
    fn add(&self, channel: Cow<'static, str>) -> bool {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.channels.insert(channel);
        !mem::replace(&mut pending.sending, true)
    }

    /// Returns the channels to notify next. It returns `None` and ends the sending when no channel is left.
    fn next(&self) -> Option<Channels> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.sending = !pending.channels.is_empty();
        pending.sending.then(|| mem::take(&mut pending.channels))
    }
}

impl Store {
    /// Notifies the listeners on `channel` in the background. They also poll from time to time, which makes up for a
    /// notification that is lost.
    pub(crate) fn notify(&self, channel: impl Into<Cow<'static, str>>) {
        if self.notifier.add(channel.into()) {
            let store = self.clone();
            tokio::spawn(async move {
                while let Some(channels) = store.notifier.next() {
                    let sent = sqlx::raw_sql(sqlx::AssertSqlSafe(statements(&channels))).execute(store.pool());
                    if let Err(error) = sent.await {
                        warn!(
                            ?channels,
                            error = platform::runtime::error::error_chain(&error),
                            "a notification was lost"
                        );
                    }
                }
            });
        }
    }
}

/// Returns one `NOTIFY` statement per channel. Names of channels need no escaping, because they are constants of this
/// crate.
pub(crate) fn statements(channels: &Channels) -> String {
    channels.iter().map(|channel| format!("NOTIFY \"{channel}\";")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_added_while_sending_are_sent_together_and_once() {
        let notifier = PgNotifier::default();
        assert!(notifier.add("a".into()), "the first one begins to send");
        assert_eq!(notifier.next(), Some(Channels::from(["a".into()])));
        assert!(
            !notifier.add("b".into()) && !notifier.add("c".into()) && !notifier.add("b".into()),
            "a send is in flight"
        );
        assert_eq!(statements(&notifier.next().expect("two")), r#"NOTIFY "b";NOTIFY "c";"#);
        assert_eq!(notifier.next(), None);
        assert!(notifier.add("d".into()), "the send has ended");
    }
}
