//! One transaction, and the notices that follow its commit.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
};

use futures::{TryStreamExt, future::BoxFuture};
use sqlx::{Executor, PgConnection, Postgres, pool::PoolConnection};
use tracing::warn;
use uuid::Uuid;

use crate::{
    Error, Store,
    pg::notify::{self, Channels},
};

/// A transaction that is not bound to a borrowed connection. It derefs to the connection that it is open on.
pub struct Tx {
    connection: PoolConnection<Postgres>,
    notices: Channels,
    instance: Uuid,
    ended: bool,
}

impl Tx {
    /// Tells whoever listens on `channel`, once the transaction is committed.
    pub fn notify(&mut self, channel: impl Into<Cow<'static, str>>) {
        self.notices.insert(channel.into());
    }

    async fn begin(store: &Store) -> Result<Self, sqlx::Error> {
        let connection = store.connection().await?;
        let mut tx = Self { connection, notices: Channels::new(), instance: store.instance, ended: false };
        tx.connection.execute("BEGIN").await?;
        Ok(tx)
    }

    /// Commits, and notifies after that but in the same round trip: a transaction that notifies holds a lock of the
    /// whole server from before its commit until after its sync, and so would make all of them wait for each other.
    async fn commit(mut self) -> Result<(), sqlx::Error> {
        let statements = format!("COMMIT;{}", notify::statements(&self.notices, self.instance));
        let mut results = sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute_many(&mut *self.connection);
        results.try_next().await?;
        let notified = results.try_for_each(|_| std::future::ready(Ok(()))).await;
        self.ended = true;
        // What is committed is committed; whoever listens also looks from time to time.
        if let Err(error) = notified {
            warn!(error = platform::runtime::error::error_chain(&error), "a notice was lost");
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
    /// After a panic or a lost answer nobody knows where the connection stands; the next borrower must not get it.
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}

impl Store {
    /// Does `work` in one transaction, committed when it is `Ok`.
    ///
    /// It runs in a task of its own, to its end: a caller that is dropped in the middle (an HTTP client that hangs up)
    /// must not leave a connection inside a transaction for the next borrower (sqlx #4385).
    pub async fn transaction<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, Error>> + Send + 'static,
    {
        let store = self.clone();
        in_task(async move {
            let mut tx = Tx::begin(&store).await?;
            match work(&mut tx).await {
                Ok(result) => tx.commit().await.map(|()| result).map_err(Error::from),
                Err(error) => {
                    tx.roll_back().await;
                    Err(error)
                }
            }
        })
        .await
    }
}

/// Runs work to its end, also when nobody waits for it any more.
pub(crate) async fn in_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Database(sqlx::Error::Io(std::io::Error::other(error)))),
    }
}
