//! The descriptor of a service: its name, options and consumers, the systems that it needs, and how it runs.

use std::time::Duration;

use futures::future::BoxFuture;
use platform::{Broker, Health, Shutdown, settings::SettingsError, telemetry::Metrics};
use store::Store;

use crate::settings::Settings;

/// A service: its name, its command line, what it needs, and how it runs.
#[derive(Debug)]
pub(crate) struct Service {
    /// The name of its folder, crate, subcommand, Deployment and database role.
    pub(crate) name: &'static str,
    /// The line about it in `tickbell --help`.
    pub(crate) about: &'static str,
    /// The options of its subcommand.
    pub(crate) flags: &'static [Flag],
    /// The subjects that it publishes to, which may have wildcards.
    pub(crate) publishes: &'static [&'static str],
    /// Its durable consumers in `schemas/streams.yaml`, in the order of the data flow.
    pub(crate) consumers: &'static [&'static str],
    /// Its part in `tickbell up`.
    pub(crate) in_up: InUp,
    /// Checks the ranges of its settings; every command does this for every service.
    pub(crate) validate: fn(&Settings) -> Result<(), SettingsError>,
    /// Checks the settings that must be set before this service can run.
    pub(crate) require: fn(&Settings) -> anyhow::Result<()>,
    /// Runs it, given the systems that it needs.
    pub(crate) run: Run,
}

impl Service {
    /// Returns how long the service serves after it was asked to stop. Only the API has clients that must notice first.
    pub(crate) fn drain(&self, settings: &Settings) -> Duration {
        if self.in_up == InUp::First { settings.gateway.longest_drain() } else { Duration::ZERO }
    }
}

/// An option of a service's subcommand, which overrides a setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Its name without the dashes.
    pub(crate) name: &'static str,
    /// The setting that it overrides.
    pub(crate) setting: &'static str,
    /// The placeholder of its value in the help; a flag without one takes no value and sets `true`.
    pub(crate) value: Option<&'static str>,
    /// Its line in the help.
    pub(crate) help: &'static str,
}

/// The part of a service in `tickbell up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InUp {
    /// `up` binds its address before it starts the others, which need that address for links in mails.
    First,
    /// It runs in every case.
    Yes,
    /// It runs unless `--source none` says that another process publishes prices.
    WithPrices,
    /// It does not run.
    No,
}

/// The running service, until shutdown or until an error that retrying cannot fix.
pub(crate) type Task = BoxFuture<'static, anyhow::Result<()>>;

/// How a service runs, and which systems it needs for that.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// It needs no other system.
    Alone(fn(Context) -> Task),
    /// It needs the broker and the database.
    WithDatabase(fn(Context, Broker, Store) -> Task),
    /// It needs the database and no broker.
    WithDatabaseAlone(fn(Context, Store) -> Task),
    /// It needs the database, and stays ready while the broker is away.
    WithOptionalBroker(fn(Context, Broker, Store) -> Task),
    /// It needs the broker and, where its settings say so, the database, without which it goes on.
    WithOptionalDatabase {
        /// Whether it needs the database.
        needs_database: fn(&Settings) -> bool,
        /// Runs the service.
        run: fn(Context, Broker, Option<Store>) -> Task,
    },
}

impl Run {
    /// Whether the service has an outbox in the database.
    pub(crate) const fn has_outbox(self) -> bool {
        !matches!(self, Self::Alone(_) | Self::WithDatabaseAlone(_))
    }

    /// Whether the service needs the database with these settings.
    pub(crate) fn needs_database(self, settings: &Settings) -> bool {
        match self {
            Self::Alone(_) => false,
            Self::WithDatabase(_) | Self::WithDatabaseAlone(_) | Self::WithOptionalBroker(_) => true,
            Self::WithOptionalDatabase { needs_database, .. } => needs_database(settings),
        }
    }
}

/// What every service is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}
