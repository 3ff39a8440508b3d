//! PostgreSQL holds the orders, the ledger, rules, firings, deliveries and the price history. This is the only crate
//! with SQL, and it has one module per aggregate.
//!
//! Functions that write take a [`Tx`], so that a service puts an effect, its position and its outgoing events into one
//! transaction ([`Store::transaction`]).

pub mod consumer;
pub mod identity;
mod local_signals;
pub mod market;
pub mod notifications;
pub mod outbox;
pub mod pg;
pub mod rules;
pub mod trading;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use events::{Asset, Price, Size, money::AmountError};
use futures::future::BoxFuture;
use platform::{Health, ServiceError, Shutdown};
use rust_decimal::Decimal;
use serde::Deserialize;
use sqlx::{
    Connection, PgConnection, PgPool, Postgres,
    migrate::MigrateDatabase,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use thiserror::Error;
use tracing::warn;
use uuid::Uuid;

use crate::{
    consumer::{lease, position::Advance},
    pg::{
        hot_connections::{ASSUME_ALIVE_FOR, HotConnections},
        notify::PgNotifier,
    },
};

pub use local_signals::LocalSignals;
pub use pg::{
    schema::{SCHEMA_FORMAT, WrongSchemaFormat},
    transaction::Tx,
};

/// The address of the database and the number of connections that this process may open.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL, like `postgres://user:password@host:5432/database`. Add `?sslmode=verify-full` in production, because
    /// the library's default falls back to plain text.
    pub url: String,
    /// The most connections that this process opens, 4 to 1000.
    pub max_connections: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { url: "postgres://tickbell@127.0.0.1:5432/tickbell".into(), max_connections: 16 }
    }
}

/// A failure at the database. The variants differ in what the caller does next.
#[derive(Debug, Error)]
pub enum Error {
    /// Another instance has committed since the position was read, or has decided an order: both must be read again.
    #[error("another instance has advanced consumer {0} or decided one of its orders")]
    Fenced(String),
    /// A row holds an amount that the parsers refuse.
    #[error("a stored amount is out of range")]
    Amount(#[from] AmountError),
    /// A row holds JSON that this version cannot read.
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
    /// The database has a schema that this build does not work with.
    #[error(transparent)]
    WrongSchemaFormat(#[from] WrongSchemaFormat),
    /// The database rejected a statement or did not answer.
    #[error("the database")]
    Database(#[from] sqlx::Error),
}

impl Error {
    fn fenced(advances: &[Advance]) -> Self {
        Self::Fenced(advances.iter().map(|advance| &*advance.consumer).collect::<Vec<_>>().join(" or "))
    }

    /// Returns `true` when trying again may help: the database is unreachable or busy, and has not refused the
    /// statement.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fenced(_) => true,
            Self::Amount(_) | Self::Document(_) | Self::WrongSchemaFormat(_) => false,
            // SQLSTATE classes 22, 23 and 42 stand for bad data, a violated constraint, and a missing table or right.
            Self::Database(sqlx::Error::Database(error)) => {
                !error.code().is_some_and(|code| ["22", "23", "42"].iter().any(|class| code.starts_with(class)))
            }
            Self::Database(sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }) => false,
            Self::Database(_) => true,
        }
    }
}

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        if error.is_transient() {
            ServiceError::transient("database", error)
        } else {
            ServiceError::permanent("database", error)
        }
    }
}

/// The database, which all parts of the process share.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    hot: HotConnections,
    /// The scales of the assets that were looked up. A scale never changes, so it is cached without expiry.
    scales: Arc<RwLock<HashMap<Asset, u32>>>,
    notifier: PgNotifier,
    /// The id of this process, which its notifications carry.
    instance: Uuid,
}

/// The server closes a connection that was left inside a transaction after this long.
const IDLE_IN_TRANSACTION: &str = "30s";
/// The planner settings that make statements find their rows by an index. A connection plans a statement once, perhaps
/// when a table is empty and reading all of it is cheap; the plan must still be good for millions of rows.
const BY_INDEX: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];
/// The longest wait for a first connection, after which the database counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for a connection of the pool, which is shorter than the timeout of a request.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);
/// The interval between two health checks of the database, and the timeout of each.
const PING_EVERY: Duration = Duration::from_secs(2);

impl Store {
    /// Connects, and waits up to 30 seconds for a database that is still starting.
    pub async fn connect(settings: &Settings, name: &str) -> Result<Self, ServiceError> {
        Self::connect_within(CONNECT_TIMEOUT, settings, name).await
    }

    /// Connects without retries, for an interactive command that must fail at once.
    pub async fn connect_now(settings: &Settings, name: &str) -> Result<Self, ServiceError> {
        Self::connect_within(Duration::ZERO, settings, name).await
    }

    /// Creates the database that the URL names, unless it exists. The server must already answer.
    pub async fn create_database(url: &str) -> Result<(), Error> {
        if !Postgres::database_exists(url).await? {
            Postgres::create_database(url).await?;
        }
        Ok(())
    }

    async fn connect_within(timeout: Duration, settings: &Settings, name: &str) -> Result<Self, ServiceError> {
        platform::settings::require_range("database.max_connections", settings.max_connections, 4, 1000)
            .map_err(|error| ServiceError::permanent("settings", error))?;
        let options: PgConnectOptions = settings.url.parse().map_err(|error: sqlx::Error| {
            ServiceError::permanent("database.url is no URL like postgres://user:password@host:5432/database", error)
        })?;
        let options = options
            .application_name(&format!("tickbell {name}"))
            .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION), ("timezone", "UTC")])
            .options(BY_INDEX);
        let deadline = tokio::time::Instant::now() + timeout;
        for wait in platform::runtime::backoff::backoff() {
            // The pool is not used here, because its timeout error would hide the cause.
            match PgConnection::connect_with(&options).await {
                Ok(_) => break,
                Err(error) if tokio::time::Instant::now() + wait > deadline => {
                    return Err(ServiceError::permanent("no PostgreSQL server at database.url", error));
                }
                Err(error) => warn!(error = platform::runtime::error::error_chain(&error), "waiting for the database"),
            }
            tokio::time::sleep(wait).await;
        }
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A ping before each use would add a round trip to every request.
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move { Ok(metadata.idle_for < ASSUME_ALIVE_FOR || connection.ping().await.is_ok()) })
            })
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            hot: HotConnections::default(),
            scales: Arc::default(),
            notifier: PgNotifier::default(),
            #[expect(clippy::disallowed_methods, reason = "a new id per process, which nothing stores")]
            instance: Uuid::new_v4(),
        })
    }

    /// Returns the version number of the server, like 150018 for 15.18.
    pub async fn server_version(&self) -> Result<i32, Error> {
        Ok(sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(self.pool()).await?)
    }

    /// Makes one round trip to the server.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Updates a readiness check with whether the database answers, until shutdown.
    pub async fn watch(&self, health: &Health, shutdown: &Shutdown) {
        let check = health.check("database");
        while !shutdown.is_cancelled() {
            match tokio::time::timeout(PING_EVERY, self.ping()).await {
                Ok(Ok(())) => check.ready(),
                Ok(Err(error)) => check.failing(platform::runtime::error::error_chain(&error)),
                Err(_) => check.failing("no answer within 2 s"),
            }
            tokio::select! {
                () = tokio::time::sleep(PING_EVERY) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns a connection of the pool. The future is boxed in one place, because the library's code for it is large.
    pub(crate) fn connection(&self) -> BoxFuture<'static, Result<PoolConnection<Postgres>, sqlx::Error>> {
        Box::pin(self.pool.acquire())
    }

    /// Closes every connection, waiting for those that are in use.
    pub async fn close(&self) {
        // Without a release the leases end by themselves.
        if let Err(error) = lease::release_all(self).await {
            warn!(error = platform::runtime::error::error_chain(&error), "could not release the leadership");
        }
        self.hot.clear();
        self.pool.close().await;
    }
}

fn optional_price(value: Option<Decimal>) -> Result<Option<Price>, AmountError> {
    value.map(Price::new).transpose()
}

fn optional_size(value: Option<Decimal>) -> Result<Option<Size>, AmountError> {
    value.map(Size::new).transpose()
}

/// Converts a sequence, a `u64` on the wire, to a `bigint`. JetStream counts from 1 and does not reach 2⁶³.
fn bigint(sequence: u64) -> i64 {
    sequence as i64
}
