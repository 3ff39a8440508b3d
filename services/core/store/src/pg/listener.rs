//! Listening for notifications.

use std::{io, time::Duration};

use platform::runtime::error::error_chain;
use sqlx::{Executor, postgres::PgListener};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, warn};

use crate::{
    Store,
    pg::{eager::eagerly, pool::PING_TIMEOUT, session},
};

/// The longest wait for a connection that listens.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that has been silent for this long is asked whether it is alive.
const ASK_AFTER: Duration = Duration::from_secs(3);

/// Waits for notifications on one channel. A notification can be lost with its connection, so whoever waits here also
/// polls from time to time.
pub(crate) struct Listener {
    store: Store,
    channel: String,
    connection: Option<Listening>,
    /// Whether the last wait failed, which is said once.
    is_failing: bool,
}

struct Listening {
    listener: PgListener,
    opened: Instant,
    /// The time at which the server was known to be there.
    alive: Instant,
    /// True while the server is asked whether it is there. A wait that is dropped then leaves an answer behind.
    is_asked: bool,
}

impl Listener {
    /// Returns a listener, which connects when it waits first.
    pub(crate) fn new(store: &Store, channel: impl Into<String>) -> Self {
        Self { store: store.clone(), channel: channel.into(), connection: None, is_failing: false }
    }

    /// Waits for a notification, until `until` at the latest. It waits as well while it cannot listen.
    /// The future may be dropped, and the wait repeated.
    pub(crate) async fn wait(&mut self, until: Instant) {
        let Err(error) = self.listen(until).await else {
            self.is_failing = false;
            return;
        };
        self.connection = None;
        if !self.is_failing {
            let channel = &self.channel;
            warn!(channel, error = error_chain(&error), "could not listen for notifications, polling instead");
        }
        self.is_failing = true;
        sleep_until(until).await;
    }

    async fn listen(&mut self, until: Instant) -> Result<(), sqlx::Error> {
        let pool = self.store.pool();
        let is_usable = |open: &Listening| !open.is_asked && !pool.has_reconnected_since(open.opened);
        let listening = match self.connection.take_if(|open| is_usable(open)) {
            Some(listening) => listening,
            None => connect(&self.store, &self.channel).await?,
        };
        let Listening { listener, alive, is_asked, .. } = self.connection.insert(listening);
        loop {
            let ask_at = *alive + ASK_AFTER;
            match timeout_at(until.min(ask_at), listener.try_recv()).await {
                Ok(notification) => {
                    notification?.ok_or_else(closed)?;
                    *alive = Instant::now();
                    // One look serves all notifications that have arrived.
                    while listener.next_buffered().is_some() {}
                    return Ok(());
                }
                Err(_) if Instant::now() >= ask_at => {
                    *is_asked = true;
                    timeout(PING_TIMEOUT, listener.execute("SELECT 1"))
                        .await
                        .map_err(|_| session::timed_out(PING_TIMEOUT))??;
                    (*alive, *is_asked) = (Instant::now(), false);
                }
                Err(_) => return Ok(()),
            }
        }
    }
}

async fn connect(store: &Store, channel: &str) -> Result<Listening, sqlx::Error> {
    // The connection is not one of the store's pool, which would wait for the end of one that is dead.
    let options = store.pool().inner().connect_options();
    let connect = async {
        let pool = session::pool_options().max_connections(1).connect_with((*options).clone()).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(channel).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let listener = timeout(CONNECT_TIMEOUT, eagerly(Box::pin(connect)))
        .await
        .map_err(|_| session::timed_out(CONNECT_TIMEOUT))??;
    debug!(channel, "listening for notifications");
    let now = Instant::now();
    Ok(Listening { listener, opened: now, alive: now, is_asked: false })
}

fn closed() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::ConnectionReset.into())
}
