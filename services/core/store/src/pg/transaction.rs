//! A transaction and the notifications that follow its commit.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
};

use futures::{TryStreamExt, future::BoxFuture};
use sqlx::{Executor, PgConnection, Row};
use tokio::time::timeout;
use tracing::warn;

use crate::{
    Error, Store,
    pg::{
        notify::{self, Channels},
        pool::{Connection, STATEMENT_TIMEOUT},
        progress, session,
    },
};

/// A transaction that is not bound to a borrowed connection. It derefs to the connection that it is open on.
pub struct Tx {
    connection: Connection,
    /// The server's process of the connection.
    pid: i32,
    channels: Channels,
    ended: bool,
}

impl Tx {
    /// Notifies the listeners on `channel` once the transaction is committed.
    pub fn notify(&mut self, channel: impl Into<Cow<'static, str>>) {
        self.channels.insert(channel.into());
    }

    async fn begin(store: &Store) -> Result<Self, sqlx::Error> {
        let mut connection = store.pool().connection().await?;
        let began = sqlx::raw_sql("BEGIN; SELECT pg_backend_pid()").fetch_one(&mut *connection);
        let began = timeout(STATEMENT_TIMEOUT, began).await;
        if !matches!(began, Ok(Ok(_))) {
            connection.close_on_drop();
        }
        let pid = began.map_err(|_| session::timed_out(STATEMENT_TIMEOUT))??.try_get(0)?;
        Ok(Self { connection, pid, channels: Channels::new(), ended: false })
    }

    /// Commits, and notifies after that but in the same round trip: a transaction that notifies holds a lock of the
    /// whole server from before its commit until after its sync, and so would make all of them wait for each other.
    async fn commit(mut self) -> Result<(), sqlx::Error> {
        let statements = format!("COMMIT;{}", notify::statements(&self.channels));
        let mut results = sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute_many(&mut *self.connection);
        results.try_next().await?;
        let notified = results.try_for_each(|_| std::future::ready(Ok(()))).await;
        self.ended = true;
        // The transaction is committed all the same, and the listeners also poll from time to time.
        if let Err(error) = notified {
            warn!(error = platform::runtime::error::error_chain(&error), "a notification was lost");
        }
        Ok(())
    }

    async fn roll_back(mut self) {
        self.ended = self.connection.execute("ROLLBACK").await.is_ok();
    }
}

impl Deref for Tx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Tx {
    /// Closes the connection after a panic or a lost answer: its state is unknown, so the next borrower must not get
    /// it.
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}

impl Store {
    /// Runs `work` in one transaction, which is committed when `work` returns `Ok`.
    ///
    /// The transaction runs in a task of its own, to its end: a caller that is dropped in the middle (an HTTP client
    /// that hangs up) must not leave a connection inside a transaction for the next borrower (sqlx #4385).
    pub async fn transaction<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, Error>> + Send + 'static,
    {
        let store = self.clone();
        in_task(async move {
            let mut tx = Tx::begin(&store).await?;
            progress::watch(&store, tx.pid, async move {
                match work(&mut tx).await {
                    Ok(result) => tx.commit().await.map(|()| result).map_err(Error::from),
                    Err(error) => {
                        tx.roll_back().await;
                        Err(error)
                    }
                }
            })
            .await
        })
        .await
    }
}

/// Runs work in a task of its own, to its end, even when the caller is dropped.
pub(crate) async fn in_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(match error.try_into_panic() {
            Ok(panic) => Error::panicked(&*panic),
            Err(error) => Error::Database(sqlx::Error::Io(std::io::Error::other(error))),
        }),
    }
}
