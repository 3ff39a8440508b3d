//! PostgreSQL: the book of record for rules, firings and deliveries, and the store of price history. The only crate
//! with SQL, one module per aggregate.
//!
//! Functions that write take a [`Tx`], so that a service puts an effect, its position and its outgoing facts into one
//! transaction: [`Store::transaction`].

pub mod consumer;
pub mod identity;
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
    consumer::position::Advance,
    outbox::relay::LocalRelay,
    pg::{
        hot_connections::{ASSUME_ALIVE_FOR, HotConnections},
        notify::PgNotifier,
    },
    trading::order_waiters::OrderWaiters,
};

pub use pg::{
    schema::{SCHEMA_FORMAT, WrongSchemaFormat},
    transaction::Tx,
};

/// Where the database is and how many connections this process may hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `postgres://user:password@host:5432/database`; add `?sslmode=verify-full` in production, because the library's
    /// default falls back to plain text.
    pub url: String,
    /// How many connections at most, 4 to 1000.
    pub max_connections: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { url: "postgres://tickbell@127.0.0.1:5432/tickbell".into(), max_connections: 16 }
    }
}

/// What can go wrong at the database, sorted by what happens next.
#[derive(Debug, Error)]
pub enum Error {
    /// Another instance has committed since the position was read, or an earlier one has decided an order: read both again.
    #[error("consumer {0} was moved, or an order that was new to it decided, by another instance")]
    Fenced(String),
    /// A row holds what the parsers would not let in.
    #[error("a stored amount is out of range")]
    Amount(#[from] AmountError),
    /// A row's JSON is not what this version reads.
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

    /// Whether trying again may help: yes for a database that is away or busy, no for one that refuses the statement.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fenced(_) => true,
            Self::Amount(_) | Self::Document(_) | Self::WrongSchemaFormat(_) => false,
            // SQLSTATE classes 22, 23 and 42: bad data, a broken constraint, a missing table or right.
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

/// The database, shared by everything in the process.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    hot: HotConnections,
    /// Assets that were asked for; how many places one has never changes.
    scales: Arc<RwLock<HashMap<Asset, u32>>>,
    notifier: PgNotifier,
    local_relay: LocalRelay,
    order_waiters: OrderWaiters,
    /// Names this process in its notices.
    instance: Uuid,
}

/// A connection that was left inside a transaction is closed by the server after this long.
const IDLE_IN_TRANSACTION: &str = "30s";
/// Statements here find their rows by an index. A plan is made once for a connection, maybe when a table was empty and
/// reading all of it looked cheap; it must still be good when there are millions.
const BY_INDEX: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];
/// How long a first connection is waited for before the database counts as not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection of the pool is waited for; less than a request may take.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);
/// How often the database is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(2);

impl Store {
    /// Connects, waiting up to half a minute for a database that is still starting.
    pub async fn connect(settings: &Settings, name: &str) -> Result<Self, ServiceError> {
        Self::connect_within(CONNECT_TIMEOUT, settings, name).await
    }

    /// Connects to a database that should be there, for a command that somebody waits for.
    pub async fn connect_now(settings: &Settings, name: &str) -> Result<Self, ServiceError> {
        Self::connect_within(Duration::ZERO, settings, name).await
    }

    /// Makes the database that the URL names on a server that answers, unless it is there.
    pub async fn create_database(url: &str) -> Result<(), Error> {
        if !Postgres::database_exists(url).await? {
            Postgres::create_database(url).await?;
        }
        Ok(())
    }

    async fn connect_within(patience: Duration, settings: &Settings, name: &str) -> Result<Self, ServiceError> {
        platform::settings::require_range("database.max_connections", settings.max_connections, 4, 1000)
            .map_err(|error| ServiceError::permanent("settings", error))?;
        let options: PgConnectOptions = settings.url.parse().map_err(|error: sqlx::Error| {
            ServiceError::permanent("database.url is no URL like postgres://user:password@host:5432/database", error)
        })?;
        let options = options
            .application_name(&format!("tickbell {name}"))
            .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION), ("timezone", "UTC")])
            .options(BY_INDEX);
        let deadline = tokio::time::Instant::now() + patience;
        for wait in platform::runtime::backoff::backoff() {
            // Not by the pool, whose time-out would hide why.
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
            // A ping before each use would be one more round trip that somebody waits for.
            .test_before_acquire(false)
            .before_acquire(|connection, there| {
                Box::pin(async move { Ok(there.idle_for < ASSUME_ALIVE_FOR || connection.ping().await.is_ok()) })
            })
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            hot: HotConnections::default(),
            scales: Arc::default(),
            notifier: PgNotifier::default(),
            local_relay: LocalRelay::default(),
            order_waiters: OrderWaiters::default(),
            #[expect(clippy::disallowed_methods, reason = "a new id per process, which nothing stores")]
            instance: Uuid::new_v4(),
        })
    }

    /// What the server says it is, like 150018 for 15.18.
    pub async fn server_version(&self) -> Result<i32, Error> {
        Ok(sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(self.pool()).await?)
    }

    /// One round trip.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Keeps a readiness check true to whether the database answers, until shutdown.
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

    /// Everybody in this process who waits for what the settler decides.
    pub fn order_waiters(&self) -> &OrderWaiters {
        &self.order_waiters
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of the pool; in one place, since what the library does for it is much code.
    pub(crate) fn connection(&self) -> BoxFuture<'static, Result<PoolConnection<Postgres>, sqlx::Error>> {
        Box::pin(self.pool.acquire())
    }

    /// Closes every connection, waiting for those that are in use.
    pub async fn close(&self) {
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

/// Sequences are `u64` on the wire and `bigint` here; JetStream counts from 1 and will not pass 2⁶³.
fn bigint(sequence: u64) -> i64 {
    sequence as i64
}
