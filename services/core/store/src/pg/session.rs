//! The settings of a session, which each connection gets by a statement, and the error of one that does not answer.
//!
//! The settings are no parameters of the connection's start: a pooler like `PgBouncer` refuses a client that sends one that it does not
//! know.

use std::{io, time::Duration};

use futures::future::BoxFuture;
use sqlx::{
    ConnectOptions, Executor, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

/// The statements that set all of them, which are sent in one message.
const STATEMENTS: &str = concat!(
    "SET timezone = 'UTC';",
    // The server closes a connection that was left inside a transaction after this long, as by a machine that has vanished.
    "SET idle_in_transaction_session_timeout = '5s';",
    // By these the server notices that this process has vanished, and ends what it does for it.
    "SET tcp_keepalives_idle = '5s';",
    "SET tcp_keepalives_interval = '1s';",
    "SET tcp_keepalives_count = 3;",
    "SET tcp_user_timeout = '8s';",
    "SET client_connection_check_interval = '5s';",
    // By these the planner finds rows by an index. A connection plans a statement once, perhaps when a table is empty and
    // reading all of it is cheap; the plan must still be good for millions of rows.
    "SET enable_seqscan = off;",
    "SET enable_hashjoin = off;",
    "SET enable_mergejoin = off;",
    "SET jit = off;",
);
/// The deadline for the settings of a new connection. A pooler accepts a connection before it has one to the server.
const SET_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns options that have all new connections of a pool set up.
pub(crate) fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().after_connect(|connection, _| set_up(connection))
}

/// Opens a connection that belongs to no pool.
pub(crate) async fn open(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    set_up(&mut connection).await?;
    Ok(connection)
}

/// The error of a server that has not answered in time.
pub(crate) fn timed_out(after: Duration) -> sqlx::Error {
    let message = format!("the database has not answered for {} s", after.as_secs());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
}

fn set_up(connection: &mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async {
        let set = connection.execute(sqlx::raw_sql(STATEMENTS));
        timeout(SET_TIMEOUT, set).await.map_err(|_| timed_out(SET_TIMEOUT))??;
        Ok(())
    })
}
