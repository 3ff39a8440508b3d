//! PostgreSQL holds the orders, the ledger, rules, firings, deliveries and the price history. This is the only crate
//! with SQL, and it has one module per aggregate.
//!
//! Functions that write take a [`Tx`], so that a service puts an effect, its position and its outgoing events into one
//! transaction ([`Store::transaction`]).

pub mod consumer;
pub mod feeds;
pub mod identity;
pub mod market;
pub mod notifications;
pub mod outbox;
pub mod pg;
pub mod republish;
pub mod rules;
pub mod trading;

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use events::{Asset, Price, money::AmountError};
use metrics::Counter;
use platform::{Check, ServiceError, Shutdown};
use rust_decimal::Decimal;
use serde::Deserialize;
use sqlx::{Postgres, migrate::MigrateDatabase, postgres::PgConnectOptions};
use thiserror::Error;
use tracing::warn;
use uuid::Uuid;

use crate::{
    consumer::{lease, position::Advance},
    pg::{
        hosts::{Hosts, TAKES_WRITES},
        hot_connections::HotConnections,
        notify::PgNotifier,
        pool::Pool,
        progress::Monitor,
    },
};

pub use market::numeric::{NoFiniteNumber, Numeric};
pub use pg::{
    schema::{SCHEMA_FORMAT, WrongSchemaFormat},
    transaction::Tx,
};

/// The address of the database and the number of connections that this process may open.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL, like `postgres://user:password@host:5432/database`. Several hosts are separated by commas, and the one that
    /// takes writes is used. Add `?sslmode=verify-full` in production, because the library's default falls back to plain text.
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
    /// Another instance has committed since the position was read, or has decided an order, or an order has no row: all of
    /// it must be read again.
    #[error("another instance has advanced consumer {0} or decided one of its orders, or an order has no row")]
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
    /// The work of a transaction has panicked; nothing of it was committed.
    #[error("the program panicked: {0}")]
    Panicked(String),
    /// Another system than the database failed, to which a service saves its effects.
    #[error(transparent)]
    Elsewhere(ServiceError),
    /// The database rejected a statement or did not answer.
    #[error("the database")]
    Database(#[from] sqlx::Error),
}

/// The refusal of what a transaction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The data cannot be written, or the program cannot handle it.
    Data,
    /// The data breaks a constraint.
    BrokenConstraint,
}

impl Error {
    fn fenced(advances: &[Advance]) -> Self {
        Self::Fenced(advances.iter().map(|advance| &*advance.consumer).collect::<Vec<_>>().join(" or "))
    }

    /// Makes an error of what a panic says.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        Self::Panicked(said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
    }

    /// Returns why the database refuses what was written; `None` when it may take the same another time.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Panicked(_) | Self::Database(sqlx::Error::Encode(_)) => Some(Refusal::Data),
            // SQLSTATE class 22 stands for bad data, 54 for data beyond a limit of the server, 23 for a broken constraint.
            Self::Database(sqlx::Error::Database(error)) => match error.code()?.get(..2)? {
                "22" | "54" => Some(Refusal::Data),
                "23" => Some(Refusal::BrokenConstraint),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns whether the cause of a service's error is a constraint of the database that was broken.
    pub fn is_broken_constraint(error: &ServiceError) -> bool {
        let (ServiceError::Transient(_, cause) | ServiceError::Permanent(_, cause)) = error;
        let cause = cause.downcast_ref::<Self>();
        cause.is_some_and(|error| error.refusal() == Some(Refusal::BrokenConstraint))
    }

    /// Returns `true` when trying again may help: the database is unreachable or busy, and has not refused the
    /// statement.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fenced(_) => true,
            Self::Elsewhere(error) => matches!(error, ServiceError::Transient(..)),
            Self::Amount(_) | Self::Document(_) | Self::WrongSchemaFormat(_) | Self::Panicked(_) => false,
            Self::Database(_) if self.refusal().is_some() => false,
            // SQLSTATE class 42 stands for a missing table or right.
            Self::Database(sqlx::Error::Database(error)) => !error.code().is_some_and(|code| code.starts_with("42")),
            Self::Database(sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }) => false,
            Self::Database(_) => true,
        }
    }
}

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        if let Error::Elsewhere(error) = error {
            return error;
        }
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
    pool: Pool,
    hosts: Hosts,
    hot: HotConnections,
    monitor: Monitor,
    /// The scales of the assets that were looked up. A scale never changes, so it is cached without expiry.
    scales: Arc<RwLock<HashMap<Asset, u32>>>,
    notifier: PgNotifier,
    /// The id of this process, which its notifications carry.
    instance: Uuid,
}

/// The longest wait for a first connection, after which the database counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
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
        let hosts = Hosts::parse(&settings.url).map_err(|error: sqlx::Error| {
            ServiceError::permanent("database.url is no URL like postgres://user:password@host:5432/database", error)
        })?;
        // A pooler like PgBouncer knows the name of the application, but not the digits of floating-point numbers, which no
        // statement reads as text.
        let hosts = hosts.map(|options| options.application_name(&format!("tickbell {name}")).extra_float_digits(None));
        let options = first_connection(&hosts, tokio::time::Instant::now() + timeout).await?;
        Ok(Self {
            pool: Pool::new(options, settings.max_connections),
            hosts,
            hot: HotConnections::default(),
            monitor: Monitor::default(),
            scales: Arc::default(),
            notifier: PgNotifier::default(),
            #[expect(
                clippy::disallowed_methods,
                reason = "a new id per process, which marks its notifications and leases"
            )]
            instance: Uuid::new_v4(),
        })
    }

    /// Returns the most connections that this process opens.
    pub fn max_connections(&self) -> u32 {
        self.pool.inner().options().get_max_connections()
    }

    /// Returns the version number of the server, like 150018 for 15.18.
    pub async fn server_version(&self) -> Result<i32, Error> {
        Ok(sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(self.pool()).await?)
    }

    /// Makes one round trip to the server.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(self.pool()).await?;
        Ok(())
    }

    /// Updates two checks until shutdown: `answers` says whether the database can be read, and `writes` whether it takes
    /// writes. When the open connections are of no use, because the server does not answer or has become read-only, they are
    /// closed, and new ones go to the server of the setting that takes writes.
    pub async fn watch(&self, answers: &Check, writes: &Check, shutdown: &Shutdown) {
        let reconnects = metrics::counter!("tickbell_database_reconnects_total");
        reconnects.increment(0);
        // A busy pool may answer late once.
        let mut is_late = false;
        while !shutdown.is_cancelled() {
            let answer = tokio::time::timeout(PING_EVERY, self.takes_writes()).await;
            match answer {
                Ok(Ok(true)) => {
                    answers.ready();
                    writes.ready();
                }
                Err(_) if !is_late => answers.failing("no answer within 2 s"),
                Ok(Ok(false)) => {
                    answers.ready();
                    match self.hosts.find_leader().await {
                        Ok(leader) => self.reconnect(leader, &reconnects),
                        Err(none) => writes.failing(none.to_string()),
                    }
                }
                Ok(Err(_)) | Err(_) => match self.hosts.find_leader().await {
                    Ok(leader) => self.reconnect(leader, &reconnects),
                    Err(none) => {
                        answers.failing(none.to_string());
                        writes.failing(none.to_string());
                        if let Some(standby) = none.readable {
                            self.reconnect(standby, &reconnects);
                        }
                    }
                },
            }
            is_late = answer.is_err() && !is_late;
            tokio::select! {
                () = tokio::time::sleep(PING_EVERY) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Uses another server, or the same one over new connections.
    fn reconnect(&self, options: PgConnectOptions, reconnects: &Counter) {
        let (host, port) = (options.get_host(), options.get_port());
        warn!(host, port, "the open connections to the database are of no use, opening new ones");
        reconnects.increment(1);
        self.pool.reconnect(options);
        self.hot.clear();
    }

    async fn takes_writes(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(TAKES_WRITES).fetch_one(self.pool()).await
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Closes every connection, waiting for those that are in use.
    pub async fn close(&self) {
        // Without a release the leases end by themselves.
        if let Err(error) = lease::release_all(self).await {
            warn!(error = platform::runtime::error::error_chain(&error), "could not release the leadership");
        }
        self.hot.clear();
        self.pool.inner().close().await;
    }
}

/// Returns the server to connect to: the one that takes writes or, when there is none by `deadline`, one that can be read.
async fn first_connection(hosts: &Hosts, deadline: tokio::time::Instant) -> Result<PgConnectOptions, ServiceError> {
    let mut waits = platform::runtime::backoff::backoff();
    loop {
        let none = match hosts.find_leader().await {
            Ok(options) => return Ok(options),
            Err(none) => none,
        };
        let may_wait = |wait: &Duration| !none.is_shared && tokio::time::Instant::now() + *wait <= deadline;
        match waits.next().filter(may_wait) {
            Some(wait) => {
                warn!(error = %none, "waiting for the database");
                tokio::time::sleep(wait).await;
            }
            None => {
                let unreachable = |none| ServiceError::permanent("connect to PostgreSQL", none);
                return none.readable.clone().filter(|_| !none.is_shared).ok_or_else(|| unreachable(none));
            }
        }
    }
}

fn optional_price(value: Option<Decimal>) -> Result<Option<Price>, AmountError> {
    value.map(Price::new).transpose()
}

/// Converts a sequence, a `u64` on the wire, to a `bigint`. JetStream counts from 1 and does not reach 2⁶³.
fn bigint(sequence: u64) -> i64 {
    sequence as i64
}

/// Converts the index of a tick in its page, of which there are at most 500, to a `smallint`.
fn smallint(index: u16) -> i16 {
    index as i16
}
